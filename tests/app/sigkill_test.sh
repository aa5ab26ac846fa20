#!/usr/bin/env bash
# Killed with SIGKILL at random moments, saves included, again and again: every restart goes on, and the final weights and
# states equal the undisturbed run's, bit for bit. In f32, and a few times with weights and moments in codes, whose
# stochastic rounding must go on with the same random numbers: ECO in FP8 by row and in INT4 by tensor, DQT with SOLO's moments,
# the combined recipe, the same updated inside backward, BitNet with a master in E4M3. Together they have every kind of tensor that a run stores, but bf16: f32, bytes and
# packed codes, scales of rows, tensors and blocks, levels of a quantile, rows and columns, factors, masters; that each recipe
# of configs/mini resumes bit for bit without a kill is tests/train/recipes_test. BITTERN: the program; BITTERN_KILLS: how often in f32 (100). The rate is constant, so the length of a run
# is chosen when the last kill has happened: a little beyond, however fast the machine.
set -euo pipefail
kills=${BITTERN_KILLS:-100}
few=$((kills < 60 ? 12 : kills / 5))

python3 - <<'E2'
import random
random.seed(1)
words = "heron bittern reed water fish evening calls waits under the a of".split()
with open("text.txt", "w") as out:
    for _ in range(4000):
        out.write(" ".join(random.choice(words) for _ in range(9)) + ".\n")
E2
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 2>/dev/null
cat >f32.json <<'E2'
{"run": {"name": "kill", "threads": 1}, "data": {"path": "corpus", "sequence_length": 16},
 "model": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64},
 "schedule": {"shape": "constant", "lr": 1e-3, "warmup_steps": 10},
 "train": {"steps": 100000000, "batch_sequences": 2, "checkpoint_every": 20, "keep_checkpoints": 2, "evaluate_every": 500, "evaluate_sequences": 4},
 "precision": {"compute": "f32"}}
E2

cat >eco.json <<'E2'
{"extends": "f32.json", "train": {"checkpoint_every": 5}, "precision": {"compute": "bf16", "activations": "fp8_e4m3_row"},
 "weights": {"block_linear": {"codec": "fp8_e4m3", "scale_per": "row", "master": "none", "rounding": "stochastic", "error_feedback": "eco"}}}
E2
cat >eco_int4.json <<'E2'
{"extends": "f32.json", "train": {"checkpoint_every": 5}, "precision": {"compute": "bf16"},
 "weights": {"block_linear": {"codec": "int", "bits": 4, "scale_per": "tensor", "rounding": "stochastic", "error_feedback": "eco"}}}
E2
cat >dqt_solo.json <<'E2'
{"extends": "f32.json", "train": {"checkpoint_every": 5}, "precision": {"compute": "bf16", "activations": "int8_token"},
 "weights": {"block_linear": {"codec": "int", "bits": 3, "range": "full", "scale_per": "tensor", "scale_from": "absmean",
                              "scale_update": "fixed", "master": "none", "rounding": "stochastic"}},
 "optimizer": {"betas": [0.3, 0.95], "states": {"m": "de4", "v": "log2", "v_rounding": "stochastic", "on": "all", "min_elements": 0}}}
E2

# The recipe of docs/methods/combining.md: ECO, the first moment in 8 bits, the second factored.
cat >combined.json <<'E2'
{"extends": "eco.json", "optimizer": {"betas": [0.9, 0.98], "states": {"m": "dynamic8", "v": "factored", "on": "linears", "min_elements": 0}}}
E2
# A master of its own rounding, and moments whose scales are of rows and columns.
cat >bitnet_rank1.json <<'E2'
{"extends": "f32.json", "train": {"checkpoint_every": 5}, "precision": {"compute": "bf16", "activations": "int8_token"},
 "weights": {"block_linear": {"codec": "ternary", "master": "fp8_e4m3", "master_rounding": "stochastic"}},
 "optimizer": {"states": {"m": "fp8", "v": "rank1_linear4", "m_rounding": "stochastic", "v_rounding": "stochastic", "min_elements": 0, "block": 16}}}
E2

# Every layer updated inside backward, clipped by the mean norm of earlier steps, which a checkpoint must hold.
cat >fused.json <<'E2'
{"extends": "combined.json", "train": {"fused_backward": true}, "optimizer": {"clip_grad_norm": 0.2}}
E2
# Written in pieces, for which training pauses.
cat >pieces.json <<'E2'
{"extends": "f32.json", "train": {"checkpoint_every": 5, "snapshot": "pieces"}}
E2

kill_and_compare() {  # CONFIG KILLS
  local config=$1 kills=$2
  python3 - "$BITTERN" "$config" "$kills" <<'E2'
import json, random, signal, subprocess, sys, time
program, config, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
random.seed(2)


def trains(process):
    """The heartbeat of this process has said that it trains: a step is done."""
    try:
        beat = json.load(open("killed/heartbeat.json"))
    except (OSError, ValueError):
        return False
    return beat["pid"] == process.pid and beat["status"] == "training"


for killed in range(kills):
    process = subprocess.Popen([program, "train", config + ".json", "--out", "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    # One in four is killed while it starts, the others while they train, and most of the time save.
    if killed % 4 != 0:
        deadline = time.monotonic() + 60
        while not trains(process) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
    try:
        code = process.wait(timeout=random.uniform(0.005, 0.08))
        sys.exit(f"{config}: restart {killed} ended with {code}: {process.stderr.read().decode()}")
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
E2
  local reached
  reached=$(find killed -path '*/checkpoints/step_*' -name 'step_*' -printf '%f\n' | sed 's/[^0-9]//g' | sort -n | tail -1)
  [ -n "$reached" ] || { echo "FAILED: no restart lived until its first checkpoint: this machine is too slow for this test"; exit 1; }
  reached=$((10#$reached))
  # No checkpoint is due at its end, which is where the last one is made.
  local end=$((reached + 1011))
  for run in killed undisturbed; do "$BITTERN" train "$config.json" --out "$run" --set train.steps="$end" 2>/dev/null; done
  "$SOURCE/tests/app/compare_runs" undisturbed killed "$end"
  echo "$config: killed $kills times, $reached steps reached: weights, states and metrics equal those of the undisturbed run"
  rm -r killed undisturbed
}

kill_and_compare f32 "$kills"
for config in eco eco_int4 dqt_solo combined bitnet_rank1 fused pieces; do kill_and_compare "$config" "$few"; done
