#!/usr/bin/env bash
# Checkpoints open in Hugging Face transformers as they are, those with weights in codes after `bittern export`: the same loss, the
# same most likely text, for a llama, mistral, qwen2, qwen3, gemma2, gemma3, BitNet's architecture, ECO's FP8 and DQT's ternary weights. Needs Python with
# torch, transformers, sentencepiece and protobuf ($BITTERN_PYTHON, or python3), a gigabyte that scripts/install_dependencies
# leaves out; where there is none, ctest lists the test as skipped. To run it:
#   python3 -m venv hf && hf/bin/pip install torch transformers sentencepiece protobuf
#   BITTERN_PYTHON=$PWD/hf/bin/python ctest --test-dir build/test -R huggingface_test
# What does not need Python is in tests/train/model_golden_test.cpp.
set -euo pipefail
export OMP_NUM_THREADS=1  # tiny models: PyTorch's threads would only wait for each other
python=${BITTERN_PYTHON:-python3}
if ! "$python" -c "import torch, transformers, sentencepiece, google.protobuf" 2>/dev/null; then
  echo "SKIPPED: $python has no torch, transformers, sentencepiece and protobuf; name one that has in BITTERN_PYTHON"
  exit 77
fi
for i in $(seq 600); do
  echo "The heron number $i waits for $((i * 37 % 100)) small fish (and the ${i}th reed), said the otter."
done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 320 2>/dev/null
# NAME ARCHITECTURE WEIGHTS [MODEL]: trained in f32, with f32 inputs of the products, as transformers computes.
same_as_transformers() {
  local name=$1 folder=run_$1
  cat >config.json <<E2
{"data": {"path": "corpus", "sequence_length": 32},
 "model": {"architecture": "$2", "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
           "num_key_value_heads": 2, "head_dim": 12, "intermediate_size": 80, "max_position_embeddings": 128 ${4:-}},
 "train": {"steps": 100, "batch_sequences": 8, "checkpoint_every": 100, "evaluate_every": 0},
 "schedule": {"lr": 0.005, "warmup_steps": 10}, "precision": {"compute": "f32"}, "weights": {$3}}
E2
  "$BITTERN" train config.json --out "run_$name" 2>log.txt || { cat log.txt; exit 1; }
  if [ -n "$3" ]; then
    folder=exported_$name
    "$BITTERN" export "run_$name" --out "$folder" 2>log.txt || { cat log.txt; exit 1; }
    code=0; "$python" "$SOURCE/scripts/check_hf.py" "run_$name" --ids 5 6 7 >log.txt 2>&1 || code=$?
    [ "$code" -ne 0 ] || { echo "$name: transformers opened codes as if they were numbers: $(cat log.txt)"; exit 1; }
  fi
  loss=$("$BITTERN" eval "run_$name" --data text.txt --json |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["loss"])')
  "$python" "$SOURCE/scripts/check_hf.py" "$folder" --text text.txt --sequence-length 32 --expect-loss "$loss" --tolerance 1e-5
  ours=$("$BITTERN" generate "run_$name" --prompt "The heron" --tokens 40 --temperature 0)
  theirs=$("$python" "$SOURCE/scripts/check_hf.py" "$folder" --prompt "The heron" --tokens 40 --json |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["text"])')
  [ "$ours" = "$theirs" ] || { echo "$name generates \"$ours\", transformers \"$theirs\""; exit 1; }
  echo "$name: loss $loss, \"$ours\""
}
for architecture in llama mistral qwen2 qwen3 bitnet; do same_as_transformers "$architecture" "$architecture" ""; done
# Every kind of wave: 16 positions before, sequences of 32.
same_as_transformers llama3_rope llama "" ', "rope_theta": 500, "rope_scaling": {"rope_type": "llama3", "factor": 8,
  "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 16}'
# Windows shorter than the sequences; gemma3's scaled rotation in the layer that sees all positions.
same_as_transformers mistral_window mistral "" ', "sliding_window": 7'
same_as_transformers gemma2 gemma2 "" ', "sliding_window": 7, "query_pre_attn_scalar": 9, "attn_logit_softcapping": 5,
  "final_logit_softcapping": 8'
same_as_transformers gemma3 gemma3_text "" ', "sliding_window": 7, "sliding_window_pattern": 2, "query_pre_attn_scalar": 9,
  "rope_theta": 1000, "rope_local_base_freq": 100, "rope_scaling": {"rope_type": "linear", "factor": 4}'
same_as_transformers eco llama '"block_linear": {"codec": "fp8_e4m3", "scale_per": "row", "rounding": "stochastic", "error_feedback": "eco"}'
same_as_transformers dqt_ternary bitnet '"block_linear": {"codec": "ternary", "scale_per": "tensor", "scale_from": "absmean", "scale_update": "fixed",
  "rounding": "stochastic"}'
