"""PyTorch's scaled_dot_product_attention on the shapes of attention_bench, in the same table.

    python tests/bench/attention_torch.py [--dtype f32|bf16|both] [--threads N] [--seconds S] [--cpu-time]

q, k, v are columns of one packed projection, as bittern and most PyTorch models have them. The forward time is with
gradients wanted; the backward time is autograd's, to q, k and v. Operations are the causal ones, as in attention_bench.
--cpu-time counts the time that the threads ran, for a machine shared with others; with more than one thread it includes
waiting in a spin.
"""
import argparse
import os
import time

import torch
from torch.nn.functional import scaled_dot_product_attention

SHAPES = (  # batch, T, H, KV, D: those of attention_bench.cpp
    (8, 256, 4, 4, 64),
    (8, 256, 8, 8, 32),
    (4, 512, 5, 5, 128),
    (4, 512, 10, 10, 64),
    (4, 512, 12, 4, 64),
    (1, 2048, 8, 1, 64),
    (1, 512, 1, 1, 64),
)


def measured(function, seconds, clock):
    """The 20th percentile of the times, as the C++ benchmarks take it."""
    function()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        begin = clock()
        function()
        times.append(clock() - begin)
    return sorted(times)[len(times) // 5]


def bench(shape, dtype, seconds, clock):
    batch, length, heads, kv_heads, size = shape
    packed = torch.rand(batch, length, (heads + 2 * kv_heads) * size).mul(2).sub(1).to(dtype)
    q, k, v = packed.split([heads * size, kv_heads * size, kv_heads * size], dim=-1)
    q, k, v = (x.unflatten(-1, (-1, size)).transpose(1, 2).detach().requires_grad_() for x in (q, k, v))
    gqa = {"enable_gqa": True} if heads != kv_heads else {}

    def forward():
        return scaled_dot_product_attention(q, k, v, is_causal=True, **gqa)

    out = forward()
    dout = torch.rand(batch, length, heads * size).to(dtype).unflatten(-1, (heads, size)).transpose(1, 2)
    half = seconds / 2
    forward_time = measured(forward, half, clock)
    backward_time = measured(lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True), half, clock)
    scores = batch * heads * length * (length + 1) / 2
    label = f"{batch} x T{length} H{heads} KV{kv_heads} D{size}"
    print(
        f"{'pytorch':<12} {'f32' if dtype == torch.float32 else 'bf16':<4} {label:<26}"
        f" {forward_time * 1e3:8.3f} {scores * 4 * size / forward_time * 1e-9:7.1f}       "
        f" {backward_time * 1e3:9.3f} {scores * 10 * size / backward_time * 1e-9:7.1f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("f32", "bf16", "both"), default="both")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    threads = options.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    clock = time.perf_counter
    if options.cpu_time:
        clock = lambda: time.process_time() / threads  # noqa: E731
    print(f"# PyTorch {torch.__version__}, {threads} threads")
    print(f"{'':<12} {'type':<4} {'shape':<26} {'fwd ms':>8} {'GFLOP/s':>7}        {'bwd ms':>9} {'GFLOP/s':>7}")
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        if options.dtype in (name, "both"):
            for shape in SHAPES:
                bench(shape, dtype, options.seconds, clock)


if __name__ == "__main__":
    main()
