"""Makes tests/golden/trajectory: 20 AdamW steps of the model of tests/golden/llama_gqa.

    python tests/golden/make_trajectory.py         (after make_model_goldens.py)

Made with Python 3.11, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, numpy 2.4.6, on the CPU, in double
precision (exact.py), torch.optim.AdamW. Each step: gradient of the mean loss over the valid rows of the batch, clipped
by min(1, 4 / norm) exactly (the norms lie on both sides of 4), then AdamW with betas (0.9, 0.95), eps 1e-8, weight
decay 0.1 on matrices (embedding and head included), none on norms; the rate of each step is given.

    golden.safetensors   tokens, targets (steps, B, T) i32, -1 where ignored    learning_rates (steps)
                         losses (steps)   grad_norms (steps), before clipping
                         final.NAME: the weights after the last step

The first half of a batch's sequences has far fewer valid rows than the second. Two micro-batches of half the sequences,
each summed and divided by the valid rows of the whole batch, are the same step as one batch: this script runs both and
asserts it, and so must the test. A mean of the halves' means is another step, and is seen to be.
"""
import math
import os

import numpy as np
import torch
from exact import HERE, ExactMode, build, build_exact, f32, read_config, row_losses, write_tensors
from safetensors.numpy import load_file

STEPS, BATCH, LENGTH, WARMUP = 20, 4, 16, 4
PEAK, FINAL = 1e-2, 1e-3
CLIP = 4.0


def learning_rates():
    """Warm-up to PEAK over WARMUP steps, then a cosine that reaches FINAL at the last step; rounded to float32."""
    rates = []
    for step in range(STEPS):
        if step < WARMUP:
            rates.append(PEAK * (step + 1) / WARMUP)
        else:
            part = (step + 1 - WARMUP) / (STEPS - WARMUP)
            rates.append(FINAL + 0.5 * (PEAK - FINAL) * (1 + math.cos(math.pi * part)))
    return np.array(rates, dtype=np.float32)


def batches(vocab):
    """Sequences with a rule to learn: the next token is 5 t + 7 (mod V), save one in eight that is random."""
    random = np.random.Generator(np.random.PCG64(7))
    stream = np.empty((STEPS, BATCH, LENGTH + 1), dtype=np.int32)
    stream[:, :, 0] = random.integers(0, vocab, (STEPS, BATCH))
    noise = random.random(stream.shape) < 0.125
    other = random.integers(0, vocab, stream.shape)
    for t in range(1, LENGTH + 1):
        stream[:, :, t] = np.where(noise[:, :, t], other[:, :, t], (5 * stream[:, :, t - 1] + 7) % vocab)
    targets = stream[:, :, 1:].copy()
    hidden = random.random(targets.shape) < np.array([0.9, 0.7, 0.1, 0.0])[None, :, None]
    targets[hidden] = -1
    assert ((targets[:, : BATCH // 2] >= 0).sum(axis=(1, 2)) > 0).all()
    return stream[:, :, :-1].copy(), targets


def train(model, tokens, targets, rates, micro_batches, mean_of_means=False):
    """losses, gradient norms; the model holds the final weights."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.95), eps=1e-8, foreach=False)
    losses, norms = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        total = int((targets[step] >= 0).sum())
        loss = 0.0
        for x, y in zip(np.split(tokens[step], micro_batches), np.split(targets[step], micro_batches)):
            logits = model(input_ids=torch.tensor(x, dtype=torch.long), use_cache=False).logits
            divisor = micro_batches * int((y >= 0).sum()) if mean_of_means else total
            part = row_losses(logits, torch.tensor(y, dtype=torch.long))[0].sum() / divisor
            part.backward()
            loss += part.item()
        norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in model.parameters()))
        scale = min(1.0, CLIP / norm.item())
        for parameter in model.parameters():
            parameter.grad.mul_(scale)
        for group in optimizer.param_groups:
            group["lr"] = float(rates[step])
        optimizer.step()
        losses.append(loss)
        norms.append(norm.item())
    return np.array(losses), np.array(norms)


def differences(first, second):
    pairs = zip(first.parameters(), second.parameters())
    return torch.cat([(a.detach().double() - b.detach().double()).abs().flatten() for a, b in pairs])


def difference(first, second):
    return differences(first, second).max().item()


def main():
    torch.set_num_threads(1)
    config = read_config(os.path.join(HERE, "llama_gqa"))
    weights = load_file(os.path.join(HERE, "llama_gqa", "model.safetensors"))
    tokens, targets = batches(config.vocab_size)
    rates = learning_rates()
    whole, halves, wrong = (build_exact(config, weights) for _ in range(3))
    with ExactMode():
        losses, norms = train(whole, tokens, targets, rates, 1)
        losses_halves, norms_halves = train(halves, tokens, targets, rates, 2)
        train(wrong, tokens, targets, rates, 2, mean_of_means=True)
    assert np.abs(losses - losses_halves).max() < 1e-9 and np.abs(norms - norms_halves).max() < 1e-9
    assert difference(whole, halves) < 1e-9 and difference(whole, wrong) > 1e-2
    assert losses[-1] < losses[0] - 1 and (norms > 1.1 * CLIP).any() and (norms < 0.9 * CLIP).any()
    single = build(config, weights, torch.float32)
    losses32, norms32 = train(single, tokens, targets, rates, 2)

    folder = os.path.join(HERE, "trajectory")
    os.makedirs(folder, exist_ok=True)
    golden = {"tokens": tokens, "targets": targets, "learning_rates": rates,
              "losses": losses.astype(np.float32), "grad_norms": norms.astype(np.float32)}
    golden.update(("final." + name, f32(value)) for name, value in whole.named_parameters())
    write_tensors(folder, "golden.safetensors", golden)
    print(f"trajectory: losses {losses[0]:.6f} -> {losses[-1]:.6f}, norms {norms.min():.4f} to {norms.max():.4f}; "
          f"float32 differs by at most {np.abs(losses - losses32).max():.1e} in losses, "
          f"{np.abs(norms / norms32 - 1).max():.1e} in norms, {difference(whole, single):.1e} in final weights "
          f"(root mean square {differences(whole, single).square().mean().sqrt():.1e}); "
          f"a mean of means by {difference(whole, wrong):.1e}")


if __name__ == "__main__":
    main()
