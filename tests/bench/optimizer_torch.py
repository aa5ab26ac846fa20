#!/usr/bin/env python3
"""The peers of optimizer_bench: one optimizer step in PyTorch (fused AdamW) and torchao (8-bit and 4-bit AdamW), on the CPU.

  python3 tests/bench/optimizer_torch.py [--threads 2] [--seconds 2] [--only fused,8bit,4bit]

needs torch and torchao from PyPI (and a C++ compiler, which torch.compile calls). The parameters are the block linears of
the 30M LLaMA (6 layers, hidden 640, ffn 1792), as in optimizer_bench. Prints the best step in parameters per second.
"""
import argparse
import time

import torch

LAYERS, HIDDEN, FFN = 6, 640, 1792
SHAPES = LAYERS * ([(HIDDEN, HIDDEN)] * 4 + [(FFN, HIDDEN)] * 2 + [(HIDDEN, FFN)])


def optimizer(kind, parameters):
    options = {"lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-9, "weight_decay": 0.1}
    if kind == "fused":
        return torch.optim.AdamW(parameters, fused=True, **options)
    import torchao.optim as low_bit

    return {"8bit": low_bit.AdamW8bit, "4bit": low_bit.AdamW4bit}[kind](parameters, **options)


def measure(kind, seconds):
    generator = torch.Generator().manual_seed(1)
    parameters = [torch.nn.Parameter(torch.randn(s, generator=generator) * 0.02) for s in SHAPES]
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator) * 1e-3
    step = optimizer(kind, parameters).step
    for _ in range(3):
        step()
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < seconds or best == float("inf"):
        start = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - start)
    return sum(p.numel() for p in parameters) / best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default="fused,8bit,4bit")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    names = {"fused": "PyTorch AdamW fused, f32 states", "8bit": "torchao AdamW8bit", "4bit": "torchao AdamW4bit"}
    print(f"torch {torch.__version__}, {args.threads} threads, {sum(a * b for a, b in SHAPES):,} parameters")
    for kind in args.only.split(","):
        rate = measure(kind, args.seconds)
        print(f"{names[kind]:<34} {rate / 1e6:10.1f} M parameters/s {1e9 / rate:8.2f} ns/parameter")


if __name__ == "__main__":
    main()
