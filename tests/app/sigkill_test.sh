#!/usr/bin/env bash
# Killed with SIGKILL at random moments, saves included, again and again: every restart goes on, and the final weights and
# states equal the undisturbed run's, bit for bit. BITTERN: the program; BITTERN_KILLS: how often (100).
set -euo pipefail
kills=${BITTERN_KILLS:-100}

python3 - <<'E2'
import random
random.seed(1)
words = "heron bittern reed water fish evening calls waits under the a of".split()
with open("text.txt", "w") as out:
    for _ in range(4000):
        out.write(" ".join(random.choice(words) for _ in range(9)) + ".\n")
E2
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 2>/dev/null
cat >config.json <<'E2'
{"run": {"name": "kill", "threads": 1}, "data": {"path": "corpus", "sequence_length": 16},
 "model": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64},
 "train": {"steps": 40000, "batch_sequences": 2, "checkpoint_every": 20, "keep_checkpoints": 2, "evaluate_every": 500, "evaluate_sequences": 4},
 "precision": {"compute": "f32"}}
E2
"$BITTERN" train config.json --out undisturbed 2>/dev/null

python3 - "$BITTERN" "$kills" <<'E2'
import os, random, signal, subprocess, sys, time
program, kills = sys.argv[1], int(sys.argv[2])
random.seed(2)
done, killed = False, 0
while killed < kills and not done:
    process = subprocess.Popen([program, "train", "config.json", "--out", "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        code = process.wait(timeout=random.uniform(0.01, 0.15))
        errors = process.stderr.read().decode()
        if code != 0:
            sys.exit(f"a restart failed with {code}: {errors}")
        done = True
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
print(f"killed {killed} times")
if killed < kills // 2:
    sys.exit(f"the run ended after {killed} kills; it is too short for this machine")
E2
"$BITTERN" train config.json --out killed 2>/dev/null
for file in model.safetensors optimizer.safetensors; do
  cmp "undisturbed/checkpoints/step_00040000/$file" "killed/checkpoints/step_00040000/$file"
done
python3 - <<'E2'
import json
timing = ("tokens_per_second", "step_ms", "seconds", "peak_rss", "evaluate_ms")
def lines(run):
    return [{k: v for k, v in json.loads(line).items() if k not in timing} for line in open(run + "/metrics.jsonl")]
assert lines("undisturbed") == lines("killed"), "metrics differ"
E2
echo "weights, states and metrics equal those of the undisturbed run"
