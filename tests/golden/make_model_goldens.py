"""Makes tests/golden/{llama_gqa,llama_tied,qwen2,qwen3,bitnet,gemma2,gemma3}: whole models' logits, losses and gradients; and
{llama_fp8_e4m3_row,qwen2_fp8_e4m3_row,llama_int8_token,bitnet_int8_token}: with the inputs of the blocks' linears
quantized (fake_quantization.py); qwen2 has biases beside them.

    python tests/golden/make_model_goldens.py [CASE...]

Made with Python 3.11, torch 2.15.0, transformers 5.23.0 (5.24.0 for the quantized ones, bitnet and gemma), safetensors 0.8.0,
numpy 2.4.6, on the CPU. Running it again writes the same weights and tokens, and expected values equal up to the last
bit of float32.

A folder holds   config.json         as transformers 5 writes it; as version 4 did in llama_tied and qwen2
                 model.safetensors   the weights, f32, Hugging Face's names
                 golden.safetensors  tokens, targets (B,T) i32, targets -1 where the row is ignored;
                                     logits (B,T,V)   row_losses (B,T), 0 where ignored
                                     loss (1), the mean over valid rows
                                     grad.NAME: the gradient of loss by each weight
                 and, in llama_gqa:  loss_z (1) = loss + 0.01 * mean over valid rows of lse^2, grad_z.NAME its gradients
Expected values are computed in double precision (exact.py) and rounded once; float32 eager PyTorch must agree.
"""
import os
import sys

import numpy as np
import torch
from exact import (HERE, ExactMode, build, build_exact, f32, random_weights, read_config, row_losses, write_config,
                   write_tensors)
from fake_quantization import quantize_inputs
from transformers import (BitNetConfig, Gemma2Config, Gemma3TextConfig, LlamaConfig, Qwen2Config, Qwen3Config)

Z_LOSS = 1e-2

# Sizes are small, odd where they may be, and differ from case to case, so that no mixed-up dimension goes unseen.
MILLION = {"rope_type": "default", "rope_theta": 1000000.0}
CASES = {
    "llama_gqa": dict(
        batch=3, length=19, seed=101, z_loss=True,
        config=LlamaConfig(
            hidden_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, head_dim=8,
            intermediate_size=72, vocab_size=97, max_position_embeddings=64, rms_norm_eps=1e-5,
            tie_word_embeddings=False)),
    "llama_tied": dict(
        batch=2, length=17, seed=102, z_loss=False,
        config=LlamaConfig(
            hidden_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, head_dim=10,
            intermediate_size=56, vocab_size=83, max_position_embeddings=64, rms_norm_eps=1e-5,
            tie_word_embeddings=True)),
    "qwen2": dict(
        batch=2, length=23, seed=103, z_loss=False,
        config=Qwen2Config(
            hidden_size=36, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
            intermediate_size=52, vocab_size=71, max_position_embeddings=64, rms_norm_eps=1e-6,
            rope_parameters=MILLION, tie_word_embeddings=False)),
    "qwen3": dict(
        batch=2, length=21, seed=104, z_loss=False,
        config=Qwen3Config(
            hidden_size=44, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
            intermediate_size=60, vocab_size=67, max_position_embeddings=64, rms_norm_eps=1e-6,
            rope_parameters=MILLION, tie_word_embeddings=True)),
    "bitnet": dict(
        batch=2, length=15, seed=107, z_loss=False,
        config=BitNetConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_act="silu",
            intermediate_size=56, vocab_size=59, max_position_embeddings=64, rms_norm_eps=1e-5,
            tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)),
    # Windows shorter than the sequences, caps that bend what they cap, a head size apart from hidden_size / heads, a scale
    # that is not the head size. Without a padding row: transformers gives the lookup of one no gradient.
    "gemma2": dict(
        batch=2, length=18, seed=131, z_loss=True,
        config=Gemma2Config(
            hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
            intermediate_size=44, vocab_size=73, max_position_embeddings=64, rms_norm_eps=1e-6, sliding_window=5,
            query_pre_attn_scalar=7, attn_logit_softcapping=4.0, final_logit_softcapping=6.0, pad_token_id=None)),
    "gemma3": dict(
        batch=2, length=20, seed=132, z_loss=False,
        config=Gemma3TextConfig(
            hidden_size=36, num_hidden_layers=4, num_attention_heads=3, num_key_value_heads=1, head_dim=16,
            intermediate_size=52, vocab_size=79, max_position_embeddings=64, rms_norm_eps=1e-6, sliding_window=6,
            layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
            query_pre_attn_scalar=10, pad_token_id=None,
            rope_parameters={"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000.0},
                             "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}})),
    # Seeds for which no value lies so near to the middle of two codes that float32 could take the other one.
    "llama_fp8_e4m3_row": dict(
        batch=2, length=13, seed=118, z_loss=False, activations="fp8_e4m3_row",
        config=LlamaConfig(
            hidden_size=36, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, head_dim=12,
            intermediate_size=52, vocab_size=61, max_position_embeddings=64, rms_norm_eps=1e-5,
            tie_word_embeddings=False)),
    "qwen2_fp8_e4m3_row": dict(
        batch=2, length=13, seed=125, z_loss=False, activations="fp8_e4m3_row",
        config=Qwen2Config(
            hidden_size=36, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
            intermediate_size=52, vocab_size=61, max_position_embeddings=64, rms_norm_eps=1e-6,
            rope_parameters=MILLION, tie_word_embeddings=False)),
    "llama_int8_token": dict(
        batch=2, length=13, seed=105, z_loss=False, activations="int8_token",
        config=LlamaConfig(
            hidden_size=36, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, head_dim=12,
            intermediate_size=52, vocab_size=61, max_position_embeddings=64, rms_norm_eps=1e-5,
            tie_word_embeddings=False)),
    "bitnet_int8_token": dict(
        batch=2, length=13, seed=112, z_loss=False, activations="int8_token",
        config=BitNetConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_act="silu",
            intermediate_size=56, vocab_size=59, max_position_embeddings=64, rms_norm_eps=1e-5,
            tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)),
}


def tokens_and_targets(batch, length, vocab, seed):
    random = np.random.Generator(np.random.PCG64(seed + 1000))
    stream = random.integers(0, vocab, (batch, length + 1))
    tokens, targets = stream[:, :-1].copy(), stream[:, 1:].copy()
    targets[0, :3] = -1  # a run of ignored rows at the very start, single ones inside, and the very last row
    targets[1, 5] = targets[1, 11] = targets[-1, -1] = -1
    return tokens.astype(np.int32), targets.astype(np.int32)


def evaluate(model, tokens, targets, z_loss):
    """logits, row losses, loss, {name: gradient}"""
    model.zero_grad()
    logits = model(input_ids=torch.tensor(tokens, dtype=torch.long), use_cache=False).logits
    losses, squares = row_losses(logits, torch.tensor(targets, dtype=torch.long))
    loss = (losses.sum() + z_loss * squares.sum()) / int((targets >= 0).sum())
    loss.backward()
    return logits, losses, loss, {name: p.grad for name, p in model.named_parameters()}


def worst(expected, got):
    """The largest difference, relative to the largest expected value."""
    return float((expected.detach() - got.detach().double()).abs().max() / expected.detach().abs().max())


def make(name, case):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    config = case["config"]
    config.dtype = torch.float32
    config.architectures = [type(config).__name__.replace("TextConfig", "Config").replace("Config", "ForCausalLM")]
    weights = random_weights(config, case["seed"])
    tokens, targets = tokens_and_targets(case["batch"], case["length"], config.vocab_size, case["seed"])
    golden = {"tokens": tokens, "targets": targets}
    exact, single = build_exact(config, weights), build(config, weights, torch.float32)
    nearest_tie = [quantize_inputs(model, case.get("activations")) for model in (exact, single)][0]
    report = []
    for suffix, z_loss in (("", 0.0), ("_z", Z_LOSS)) if case["z_loss"] else (("", 0.0),):
        with ExactMode():
            logits, losses, loss, gradients = evaluate(exact, tokens, targets, z_loss)
        logits32, _, loss32, gradients32 = evaluate(single, tokens, targets, z_loss)
        errors = {"logits": worst(logits, logits32), "loss": worst(loss, loss32)}
        errors.update((key, worst(value, gradients32[key])) for key, value in gradients.items())
        worst_name = max(errors, key=errors.get)
        assert errors[worst_name] < 2e-5, (name, worst_name, errors[worst_name])
        report.append(f"loss{suffix} {loss.item():.9f}, float32 within {errors[worst_name]:.1e} ({worst_name})")
        if not suffix:
            golden["logits"], golden["row_losses"] = f32(logits), f32(losses)
        golden["loss" + suffix] = f32(loss.reshape(1))
        golden.update((f"grad{suffix}.{key}", f32(value)) for key, value in gradients.items())
        assert all(np.abs(golden[f"grad{suffix}.{key}"]).max() > 1e-4 for key in gradients), "a gradient hides"
    assert not nearest_tie or min(nearest_tie) > 1e-4, f"{name}: {min(nearest_tie)} from a tie; take another seed"
    write_config(config, folder, version_4=name in ("llama_tied", "qwen2"))
    assert read_config(folder).rope_parameters == config.rope_parameters
    write_tensors(folder, "model.safetensors", weights)
    write_tensors(folder, "golden.safetensors", golden)
    print(f"{name}: {'; '.join(report)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case_name in sys.argv[1:] or CASES:
        make(case_name, CASES[case_name])
