#!/usr/bin/env bash
# SIGTERM and Ctrl-C: the run stops between micro-batches, saves the last finished step, exits with 75, and goes on.
set -euo pipefail
for i in $(seq 3000); do echo "the heron waits for the small fish under reed $((i % 17)) of the evening water"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 >/dev/null 2>&1
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 32}, "model": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48},
 "train": {"steps": 1000000, "batch_sequences": 4, "micro_batch_sequences": 1, "checkpoint_every": 0, "evaluate_every": 0}}
E2
for signal in TERM INT; do
  "$BITTERN" train config.json --out "run_$signal" 2>log.txt &
  pid=$!
  for _ in $(seq 100); do [ -s "run_$signal/metrics.jsonl" ] && [ "$(wc -l <"run_$signal/metrics.jsonl")" -gt 20 ] && break; sleep 0.1; done
  kill -"$signal" "$pid"
  code=0; wait "$pid" || code=$?
  [ "$code" -eq 75 ] || { echo "SIG$signal: exit code $code, expected 75"; cat log.txt; exit 1; }
  last=$(tail -1 "run_$signal/metrics.jsonl" | python3 -c 'import json,sys; print(json.load(sys.stdin)["step"])')
  [ -d "run_$signal/checkpoints/$(printf 'step_%08d' "$last")" ] || { echo "the last finished step $last was not saved"; exit 1; }
  grep -q '"status": *"stopped"' "run_$signal/heartbeat.json" || { echo "heartbeat does not say stopped"; exit 1; }
  "$BITTERN" train config.json --out "run_$signal" --set train.steps="$((last + 3))" 2>log.txt && code=0 || code=$?
  if [ "$code" -eq 2 ]; then grep -q "train.steps" log.txt; else grep -q "step $last of" log.txt; fi
done
echo "signals: stopped, saved, resumable"
