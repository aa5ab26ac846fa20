#!/usr/bin/env bash
# `bittern eval` and the validation of a run are one number: of the last step the same loss to the last bit, of the same windows.
# Bits per byte are that loss in bits per token, over the bytes of text that a token has. Too short a text is said.
set -euo pipefail
fail() { echo "FAILED: $*"; cat log.txt; exit 1; }

for i in $(seq 1500); do echo "the heron waits for the small fish under reed $((i * i % 97)) of the evening water"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 --valid-fraction 0.05 >/dev/null 2>&1
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 32},
 "model": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48},
 "schedule": {"lr": 3e-3},
 "train": {"steps": 30, "batch_sequences": 4, "micro_batch_sequences": 4, "evaluate_every": 20, "evaluate_sequences": 0}}
E2
for compute in f32 bf16; do
  run=run_$compute
  "$BITTERN" train config.json --out $run --set precision.compute=$compute 2>log.txt || fail "train ended with $?"
  "$BITTERN" eval $run --data corpus --batch 4 --json >eval.json 2>log.txt || fail "eval ended with $?"
  "$BITTERN" eval $run --data corpus --batch 3 --json >other_batch.json 2>log.txt || fail "eval ended with $?"
  python3 - $run <<'E2' || fail "$compute: eval and the run's validation differ"
import json, math, sys
lines = [json.loads(line) for line in open(sys.argv[1] + "/metrics.jsonl")]
valid = [line for line in lines if "valid_loss" in line][-1]
evaluated, other = json.load(open("eval.json")), json.load(open("other_batch.json"))
data = json.load(open("corpus/data.json"))["valid"]
print(valid["valid_loss"], evaluated, data["tokens"], data["text_bytes"])
assert valid["step"] == 30 and evaluated["checkpoint"].endswith("step_00000030")
assert valid["valid_tokens"] == evaluated["tokens"] == (data["tokens"] - 1) // 32 * 32 > 500
assert valid["valid_loss"] == evaluated["loss"] and 0 < evaluated["loss"] < 5
assert math.isclose(other["loss"], evaluated["loss"], rel_tol=1e-6)
assert math.isclose(evaluated["perplexity"], math.exp(evaluated["loss"]), rel_tol=1e-12)
assert math.isclose(evaluated["bits_per_byte"], evaluated["loss"] / math.log(2) / (data["text_bytes"] / data["tokens"]), rel_tol=1e-12)
E2
done

# A text: its own bytes over its tokens, of which the last window may leave some out.
head -c 3000 text.txt >own.txt
"$BITTERN" eval run_f32 --data own.txt --json >eval.json 2>log.txt || fail "eval of a text ended with $?"
"$BITTERN" prepare own.txt --tokenizer corpus/tokenizer.model --valid-fraction 0 --out own >/dev/null 2>&1
python3 - <<'E2' || fail "bits per byte of a text"
import json, math
evaluated, data = json.load(open("eval.json")), json.load(open("own/data.json"))["train"]
targets = data["tokens"] - 1  # without its EOS
assert evaluated["tokens"] == targets // 32 * 32, (evaluated, data)
assert math.isclose(evaluated["bits_per_byte"], evaluated["loss"] / math.log(2) / (3000 / targets), rel_tol=1e-12)
E2

# Text that is too short: for eval, for a validation of one's own, and for training.
too_short() {
  local text=$1 code=0
  shift
  "$@" >log.txt 2>&1 || code=$?
  [ $code -eq 2 ] || fail "$*: exit code $code, expected 2"
  grep -q "^bittern: .*$text" log.txt || fail "$*: no \"$text\""
}
echo "the heron" >short.txt
"$BITTERN" prepare short.txt --tokenizer corpus/tokenizer.model --valid-fraction 0 --out short >/dev/null 2>&1
short=short/train_00000.bin
too_short "short.txt: [0-9]* tokens of validation text are fewer than one sequence of 32 and the token after it; give more text or shorter sequences" \
  "$BITTERN" eval run_f32 --data short.txt
too_short "$short: [0-9]* tokens of validation text are fewer than one sequence of 32" "$BITTERN" eval run_f32 --data $short
too_short "data.valid_path $short: [0-9]* tokens are fewer than one sequence of 32" \
  "$BITTERN" train config.json --out new --set data.valid_path=$short
too_short "the data has [0-9]* tokens; expected at least 33 for one sequence of length 32" \
  "$BITTERN" train config.json --out new --set data.path=$short --set train.evaluate_every=0
[ ! -e new ] || fail "a refused run left its folder behind"
echo "eval: the loss of a run's validation, and bits per byte"
