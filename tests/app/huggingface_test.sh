#!/usr/bin/env bash
# Checkpoints open in Hugging Face transformers as they are: the same loss, the same most likely text. Needs Python with
# torch, transformers and sentencepiece ($BITTERN_PYTHON, or python3); says so and passes where there is none. What does
# not need it is in tests/train/model_golden_test.cpp.
set -euo pipefail
export OMP_NUM_THREADS=1  # tiny models: PyTorch's threads would only wait for each other
python=${BITTERN_PYTHON:-python3}
if ! "$python" -c "import torch, transformers, sentencepiece" 2>/dev/null; then
  echo "SKIPPED: $python has no torch, transformers and sentencepiece; name one that has in BITTERN_PYTHON"
  exit 0
fi
for i in $(seq 600); do
  echo "The heron number $i waits for $((i * 37 % 100)) small fish (and the ${i}th reed), said the otter."
done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 320 2>/dev/null
for architecture in llama qwen2 qwen3 bitnet; do
  cat >config.json <<E2
{"data": {"path": "corpus", "sequence_length": 32},
 "model": {"architecture": "$architecture", "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
           "num_key_value_heads": 2, "head_dim": 12, "intermediate_size": 80, "max_position_embeddings": 128},
 "train": {"steps": 100, "batch_sequences": 8, "checkpoint_every": 100, "evaluate_every": 0},
 "schedule": {"lr": 0.005, "warmup_steps": 10}, "precision": {"compute": "f32"}}
E2
  "$BITTERN" train config.json --out "run_$architecture" 2>log.txt || { cat log.txt; exit 1; }
  loss=$("$BITTERN" eval "run_$architecture" --data text.txt --json |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["loss"])')
  "$python" "$SOURCE/scripts/check_hf.py" "run_$architecture" --text text.txt --expect-loss "$loss" --tolerance 1e-5
  ours=$("$BITTERN" generate "run_$architecture" --prompt "The heron" --tokens 40 --temperature 0)
  theirs=$("$python" "$SOURCE/scripts/check_hf.py" "run_$architecture" --prompt "The heron" --tokens 40 --json |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["text"])')
  [ "$ours" = "$theirs" ] || { echo "$architecture generates \"$ours\", transformers \"$theirs\""; exit 1; }
  echo "$architecture: loss $loss, \"$ours\""
done
