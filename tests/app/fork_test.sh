#!/usr/bin/env bash
# Every command line that a refusal or a stop advises works as it is printed: CONFIG and NEW alone are put in.
set -euo pipefail
fail() { echo "FAILED: $*"; cat log.txt; exit 1; }

for i in $(seq 600); do echo "the heron waits for the small fish under reed $((i * i % 97)) of the evening water"; done >text.txt
head -n 300 text.txt >other.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 >/dev/null 2>&1
"$BITTERN" prepare other.txt --out other --tokenizer corpus/tokenizer.model >/dev/null 2>&1
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 16},
 "model": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48},
 "train": {"steps": 20, "batch_sequences": 2, "checkpoint_every": 5, "keep_checkpoints": 0, "evaluate_every": 0}}
E2
"$BITTERN" train config.json --out run 2>log.txt || fail "the run ended with $?"
sums() { find run -type f -name '*.safetensors' -exec sha256sum {} + | sort; }
before=$(sums)

# follows CODE WORD COMMAND...: the command ends with CODE and advises `bittern train CONFIG --WORD ...`; that ends with 0.
made=0
follows() {
  local expected=$1 word=$2 code=0 advised
  shift 2
  "$@" >log.txt 2>&1 || code=$?
  [ $code -eq $expected ] || fail "$*: exit code $code, expected $expected"
  advised=$(grep -o "bittern train CONFIG --$word [^ ]* --out NEW" log.txt | head -1)
  [ -n "$advised" ] || fail "$*: it does not advise --$word"
  made=$((made + 1))
  # What the user wanted is in the config: the settings of the command that was refused.
  "$BITTERN" config "${@:3:1}" "${settings[@]}" >asked.json 2>log.txt || fail "config ended with $?"
  advised=${advised/#bittern/$BITTERN}
  advised=${advised/CONFIG/asked.json}
  ${advised/NEW/new$made} >log.txt 2>&1 || fail "'$advised', as it was advised, ended with $?"
  [ -d "new$made/checkpoints/step_$(printf %08d "$end")" ] || fail "'$advised' did not train to step $end"
}

end=25
settings=(--set schedule.lr=1e-4 --set train.steps=25)
follows 2 fork "$BITTERN" train config.json --out run "${settings[@]}"
end=20
rm -r run/checkpoints/step_00000020
before=$(sums)
settings=(--set data.path=other)
follows 2 fork "$BITTERN" train config.json --out run "${settings[@]}"
settings=(--set weights.block_linear.codec=bf16)
follows 2 init "$BITTERN" train config.json --out run "${settings[@]}"
settings=(--set optimizer.states.m=bf16)
follows 2 init "$BITTERN" train config.json --fork run --out fork "${settings[@]}"
settings=(--set train.steps=10)
end=10
follows 2 init "$BITTERN" train config.json --fork run --out fork "${settings[@]}"

# Stopped by steps that were skipped, after a checkpoint that the run learned on from.
cp config.json skips.json
settings=(--set train.skip_deviations=0.01 --set train.max_skipped_steps=1 --set train.steps=2000 --set schedule.shape=constant --set train.checkpoint_every=1)
code=0
"$BITTERN" train skips.json --out skips "${settings[@]}" >log.txt 2>&1 || code=$?
[ $code -eq 1 ] || fail "skips: exit code $code, expected 1"
proven=$(grep -o "checkpoints/step_[0-9]*: begin" log.txt | head -1 | tr -dc 0-9)
[ -n "$proven" ] || fail "no checkpoint is named"
advised=$(grep -o "bittern train CONFIG --fork [^ ]* --out NEW" log.txt | head -1)
advised=${advised/#bittern/$BITTERN}
advised=${advised/CONFIG/skips.json}
end=$((10#$proven + 5))
${advised/NEW/lower} --set schedule.lr=1e-4 --set schedule.shape=constant --set train.steps=$end >log.txt 2>&1 || fail "'$advised' ended with $?"
[ -d "lower/checkpoints/step_$(printf %08d $end)" ] || fail "'$advised' did not train to step $end"

[ "$(sums)" = "$before" ] || fail "the run that was forked has other checkpoints"
echo "fork: what is advised works as it is printed"
