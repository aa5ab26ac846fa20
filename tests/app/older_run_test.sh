#!/usr/bin/env bash
# Runs that an older program stopped half-way (tests/golden/make_older_runs.py) go on: with the losses that the older program
# got; where its arithmetic was another, close to them, and this is said once.
set -euo pipefail
fail() { echo "FAILED: $*"; exit 1; }
export BITTERN_ISA=portable
cp -r "$SOURCE/tests/golden/older_runs/." .
chmod -R u+w .

go_on() { # NAME TOLERANCE: trains from step 10 to 20 and compares losses
  cp "$1/config.json" "$1.json"
  "$BITTERN" train "$1.json" --out "$1" >"$1.txt" 2>&1 || fail "$1 does not go on: $(cat "$1.txt")"
  grep -q "step_00000010: step 10 of 20" "$1.txt" || fail "$1 began anew: $(cat "$1.txt")"
  python3 - "$1" "$2" <<'E2' || fail "$1 has other losses"
import json, sys
name, tolerance = sys.argv[1], float(sys.argv[2])
expected = json.load(open(name + ".losses.json"))
lines = [json.loads(line) for line in open(name + "/metrics.jsonl")]
losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
if sorted(losses) != list(range(1, 21)) or len(expected) != 10:
    sys.exit(f"{name} has the losses of steps {sorted(losses)}; expected 1 to 20")
worst = max(abs(losses[11 + i] - loss) for i, loss in enumerate(expected))
print(f"{name}: the largest difference from the older program's losses is {worst:g}")
sys.exit(worst > tolerance)
E2
}

# A millionth, for the C library's pow and cos are in the rates.
go_on eco_fp8 1e-6
! grep -q "older program" eco_fp8.txt || fail "an older decay is told of, and this run has none: $(cat eco_fp8.txt)"
grep -q '"residual_init": "plain"' eco_fp8/config.json || fail "the older run's initial weights were plain; config.json: $(cat eco_fp8/config.json)"

go_on qwen3_4bit 1e-3
[ "$(grep -c "older program" qwen3_4bit.txt)" -eq 1 ] || fail "not told once that decay is another: $(cat qwen3_4bit.txt)"
# What it has saved since is of today's arithmetic.
rm -r qwen3_4bit/checkpoints/step_00000020
"$BITTERN" train qwen3_4bit.json --out again --resume qwen3_4bit/checkpoints/step_00000010 --set train.checkpoint_every=5 >/dev/null 2>&1 ||
  fail "not resumed into another folder"
rm -r again/checkpoints/step_00000020
"$BITTERN" train qwen3_4bit.json --out again --resume qwen3_4bit/checkpoints/step_00000010 --set train.checkpoint_every=5 >again.txt 2>&1 ||
  fail "the run that was resumed does not go on: $(cat again.txt)"
! grep -q "older program" again.txt || fail "told again: $(cat again.txt)"
echo "older_run: runs of an older program go on"
