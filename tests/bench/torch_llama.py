"""The peer that bittern's training step is measured against: a plain LLaMA in PyTorch, one whole step on the CPU.

    python tests/bench/torch_llama.py [--size 5m|30m|all] [--mode eager|compile|max-autotune|all] [--dtype f32|bf16|all]
                                      [--seconds 10] [--threads 0] [--rounds 1]

A step: zero the gradients, forward (RMSNorm, RoPE, SDPA, SwiGLU, cross entropy), backward, clip_grad_norm_ 1.0, fused
AdamW, and one read of the loss. bf16 is torch.autocast: f32 weights, bf16 products. q, k, v and gate, up are each one
matrix, which is the faster way. It trains on one fixed random batch, and every mode must show its loss falling.

Prints one JSON line a mode with tokens/s (median over the steps after warm-up), then a table. other_cpus is how many
CPUs other processes kept busy meanwhile: PyTorch's threads wait for each other by spinning and lose far more than that
share, so only rows with about 0 count. --rounds goes over the modes again and again; a mode's figure is then its best
round's. With --threads 1 nobody spins, and tokens_per_cpu_second holds even on a busy machine.
"""
import argparse
import json
import os
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {
    "5m": dict(layers=4, hidden=256, heads=4, ffn=688, vocab=4096, length=256, batch=8),
    "30m": dict(layers=6, hidden=640, heads=10, ffn=1792, vocab=32000, length=512, batch=4),
}
MODES = ("eager", "compile", "max-autotune")
WARM_UP, AT_LEAST = 3, 4


class Block(nn.Module):
    def __init__(self, hidden, heads, ffn):
        super().__init__()
        self.heads, self.head_dim = heads, hidden // heads
        self.norm1, self.norm2 = nn.RMSNorm(hidden, eps=1e-5), nn.RMSNorm(hidden, eps=1e-5)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.o = nn.Linear(hidden, hidden, bias=False)
        self.gate_up = nn.Linear(hidden, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, hidden, bias=False)

    def forward(self, x, cos, sin):
        B, T, C = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        attention = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(attention.transpose(1, 2).reshape(B, T, C))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class Llama(nn.Module):
    def __init__(self, layers, hidden, heads, ffn, vocab, length, batch):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads, ffn) for _ in range(layers))
        self.norm = nn.RMSNorm(hidden, eps=1e-5)
        self.head = nn.Linear(hidden, vocab, bias=False)
        half = hidden // heads // 2
        angles = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(half) / half)[None, :]
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def busy_without_us():
    """CPU seconds of the machine that were not this process's. (Linux)"""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    own = os.times()
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - own.user - own.system


def measure(size, mode, dtype, seconds):
    shape = SIZES[size]
    torch.manual_seed(1)
    model = Llama(**shape)
    stream = torch.randint(0, shape["vocab"], (shape["batch"], shape["length"] + 1))
    tokens, targets = stream[:, :-1].contiguous(), stream[:, 1:].contiguous()
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)
    forward = model
    if mode != "eager":
        torch._dynamo.reset()
        forward = torch.compile(model, mode=None if mode == "compile" else mode)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            loss = forward(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    start = time.perf_counter()
    losses = [step()]
    first_step = time.perf_counter() - start
    losses += [step() for _ in range(WARM_UP - 1)]
    times, start, others, own = [], time.perf_counter(), busy_without_us(), time.process_time()
    while len(times) < AT_LEAST or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        losses.append(step())
        times.append(time.perf_counter() - before)
    own = (time.process_time() - own) / len(times)
    others = (busy_without_us() - others) / (time.perf_counter() - start)
    if not losses[-1] < losses[0] - 0.1:
        raise RuntimeError(f"{size} {mode} {dtype}: the loss does not fall: {losses[0]:.4f} -> {losses[-1]:.4f}")
    return {
        "size": size, "mode": mode, "dtype": dtype, "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_per_second": round(tokens.numel() / statistics.median(times), 1),
        "step_ms": round(1000 * statistics.median(times), 2), "fastest_step_ms": round(1000 * min(times), 2),
        "tokens_per_cpu_second": round(tokens.numel() / own, 1), "first_step_s": round(first_step, 2), "steps": len(times),
        "other_cpus": round(max(others, 0.0), 2),
        "first_loss": round(losses[0], 4), "last_loss": round(losses[-1], 4), "torch": torch.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=[*SIZES, "all"], default="all")
    parser.add_argument("--mode", choices=[*MODES, "all"], default="all", help="all: eager and compile")
    parser.add_argument("--dtype", choices=["f32", "bf16", "all"], default="all")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured time of a mode, after warm-up")
    parser.add_argument("--threads", type=int, default=0, help="0: every CPU of the affinity mask")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads or len(os.sched_getaffinity(0)))

    def chosen(value, everything):
        return everything if value == "all" else (value,)

    best = {}
    for _ in range(arguments.rounds):
        for size in chosen(arguments.size, tuple(SIZES)):
            for mode in chosen(arguments.mode, MODES[:2]):
                for dtype in chosen(arguments.dtype, ("f32", "bf16")):
                    row = measure(size, mode, dtype, arguments.seconds)
                    print(json.dumps(row), flush=True)
                    key = (size, mode, dtype)
                    if key not in best or row["tokens_per_second"] > best[key]["tokens_per_second"]:
                        best[key] = row
    print(f"\n{'size':6}{'mode':14}{'dtype':7}{'tokens/s':>10}{'ms/step':>10}{'other CPUs':>12}{'loss':>18}")
    for (size, mode, dtype), row in best.items():
        losses = f"{row['first_loss']} -> {row['last_loss']}"
        speed = f"{row['tokens_per_second']:10.0f}{row['step_ms']:10.1f}{row['other_cpus']:12.2f}"
        print(f"{size:6}{mode:14}{dtype:7}{speed}{losses:>18}")


if __name__ == "__main__":
    main()
