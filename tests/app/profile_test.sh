#!/usr/bin/env bash
# bittern train --profile N: a row for each op of a step, called as often as the model's form says; times that add up to the step;
# limits that were measured. What a row is made of is in tests/train/profile_table_test.cpp, an op's bytes in tests/ops/profile_test.cpp.
set -euo pipefail
for i in $(seq 400); do echo "the heron number $i waits for fish $((i * 31 % 97))"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 >/dev/null 2>&1
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 64},
 "model": {"architecture": "qwen3", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
           "head_dim": 16, "intermediate_size": 96},
 "train": {"steps": 100, "batch_sequences": 12, "micro_batch_sequences": 4, "sample_every": 0, "evaluate_every": 0}}
E2
"$BITTERN" train config.json --profile 2 >f32.txt 2>log.txt
"$BITTERN" train config.json --profile 2 --set model.architecture=qwen2 --set precision.activations=fp8_e4m3_row --set precision.compute=bf16 \
  --set 'weights.block_linear={"codec": "fp8_e4m3", "scale_per": "row", "rounding": "stochastic", "error_feedback": "eco"}' >codes.txt 2>log.txt
"$BITTERN" plan config.json --json >plan.json 2>log.txt
[ ! -e runs ] || { echo "FAILED: --profile made a run"; exit 1; }

python3 - <<'E2'
import json
import re

layers, micro_batches = 2, 3
per_block = lambda count, beside=0: (count * layers + beside) * micro_batches
# A block's products: q, k, v in one; o; gate and up in one; down. One more for the head.
every = {"embedding_forward": per_block(0, 1), "embedding_backward": per_block(0, 1), "residual_rmsnorm_forward": per_block(2, 1),
         "residual_rmsnorm_backward": per_block(2, 1), "qk_norm_rope_forward": per_block(1), "qk_norm_rope_backward": per_block(1),
         "attention_forward": per_block(1), "attention_backward": per_block(1), "glu_forward": per_block(1), "glu_backward": per_block(1),
         "linear_forward": per_block(4, 1), "linear_backward_input": per_block(4, 1), "linear_backward_weight": per_block(4, 1),
         "cross_entropy": per_block(0, 1), "add_losses": micro_batches, "begin_step": 1, "square_parts": layers + 2, "norm_of_parts": 1,
         "decide_step": 1, "optimizer_step": 1}  # of all parameters
recipes = {"f32.txt": every, "codes.txt": every | {"bias_backward": per_block(1)}}  # with biases of q, k and v

for name, expected in recipes.items():
    lines = open(name).read().splitlines()
    assert lines[0].split() == ["op", "calls", "ms/step", "%", "GB/s", "GFLOP/s", "of", "limit"], lines[0]
    rows, shares, work, before = {}, 0.0, 0.0, float("inf")
    for line in lines[1:-2]:
        op, calls, ms, share, gbs, gflops, limit = line.split()
        assert share.endswith("%") and limit.endswith("%"), line
        assert 0 <= float(ms) <= before and float(gbs) >= 0 and float(limit[:-1]) >= 0, f"{line}: not sorted, or below zero"
        assert float(gflops) == 0 or op.startswith("linear_") or op in ("attention_forward", "attention_backward"), line
        rows[op], before = int(calls), float(ms)
        shares += float(share[:-1])
        work += float(gflops)
    if name == "f32.txt":  # the plan foretells the calls
        assert rows == {op: cost["calls"] for op, cost in json.load(open("plan.json"))["step"]["ops"].items()}, rows
    # What is zeroed, copied and made codes is counted by no formula here.
    assert rows.pop("zero") > 0 and rows.pop("copy", 1) > 0
    assert (rows.pop("quantize", 0) > 0) == (name == "codes.txt"), "quantize"
    assert rows == expected, {op: (rows.get(op), expected.get(op)) for op in rows.keys() | expected.keys() if rows.get(op) != expected.get(op)}
    outside = re.fullmatch(r"outside ops +[\d.]+ +([\d.]+)%", lines[-2])
    assert outside and abs(shares + float(outside[1]) - 100) < 0.05 * len(lines), f"{shares} % in ops, {lines[-2]}"
    assert work > 0, "no op computes"
    limits = re.fullmatch(r"limits, measured now: (\d+) GFLOP/s \(GEMM\), ([\d.]+) GB/s \(2 reads, 1 write\)", lines[-1])
    assert limits and int(limits[1]) > 0 and float(limits[2]) > 0, lines[-1]
print("profile: a row for each op of a step")
E2
