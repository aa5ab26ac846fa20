#!/usr/bin/env bash
# The command line: help that works, one sentence for what is wrong, exit codes. BITTERN: the program; SOURCE: the repository.
set -u
failures=0

# expect CODE TEXT COMMAND...: the command ends with CODE, and what it prints holds TEXT.
expect() {
  local code=$1 text=$2 output actual
  shift 2
  output=$("$@" 2>&1 </dev/null)
  actual=$?
  if [[ $actual -ne $code ]]; then
    echo "FAILED: $* ended with $actual, expected $code: $output"
    failures=$((failures + 1))
  elif [[ $output != *"$text"* ]]; then
    echo "FAILED: $* printed \"$output\", expected \"$text\" in it"
    failures=$((failures + 1))
  fi
  if [[ $code -eq 2 && $output != "bittern: "* ]]; then
    echo "FAILED: $* printed \"$output\", expected a sentence that starts with \"bittern: \""
    failures=$((failures + 1))
  fi
}

expect 0 "bittern 0." "$BITTERN" --version
if [[ -e $SOURCE/.git ]] && command -v git >/dev/null; then  # as of the build: the sources may have moved on since
  expect 0 "commit    " "$BITTERN" --version
  commit=$("$BITTERN" --version | sed -n 's/^commit *\([0-9a-f]*\).*/\1/p')
  git -C "$SOURCE" cat-file -e "$commit^{commit}" || { echo "FAILED: --version names the commit $commit, which is none"; failures=$((failures + 1)); }
fi
expect 0 "device    cpu portable" env BITTERN_ISA=portable "$BITTERN" --version
expect 2 "BITTERN_ISA is 'none'" env BITTERN_ISA=none "$BITTERN" --version
expect 0 "bittern prepare book.txt --out data/book" "$BITTERN" --help
for command in prepare train plan eval generate export report config; do
  expect 0 "Example" "$BITTERN" $command --help
  expect 0 "bittern $command " "$BITTERN" $command --help
  expect 2 "see \`bittern $command --help\`" "$BITTERN" $command
done
expect 2 "subcommand is required" "$BITTERN"
expect 0 "bittern 0." "$BITTERN" -v
expect 0 "prepare book.txt" "$BITTERN" help
expect 0 "--valid-fraction" "$BITTERN" help prepare
expect 2 "--verison is no option of bittern itself" "$BITTERN" --verison
expect 2 "hepl is not a command" "$BITTERN" hepl
expect 2 "trian is not a command; expected one of prepare, train, plan, eval, generate, export, report, config" \
  "$BITTERN" trian x.json
expect 2 "following argument was not expected: --nope" "$BITTERN" report x --nope
expect 2 "--temperature: is abc; expected a number from 0 to 100" "$BITTERN" generate x --temperature abc
expect 2 "--top-p: is 1.5; expected a number from 0 to 1" "$BITTERN" generate x --top-p 1.5
for wrong in 0 1e2 1.5 0x10 99999999999999999999; do
  expect 2 "--tokens: is $wrong; expected a whole number from 1 to 4194304, in digits" "$BITTERN" generate x --tokens="$wrong"
done
expect 2 "--tokens: is 0; expected a whole number from 1" "$BITTERN" generate x --tokens 0
expect 2 "--seed: is -1; expected a whole number from 0" "$BITTERN" generate x --seed=-1
expect 2 "--dtype: is f64; expected one of auto, f32, bf16" "$BITTERN" export x --out y --dtype f64
expect 2 "--compute: is fp16; expected one of auto, f32, bf16" "$BITTERN" eval x --data y --compute fp16
expect 2 "--vocab-size excludes --tokenizer" "$BITTERN" prepare x --out y --vocab-size 300 --tokenizer t.model
expect 2 "--vocab-size: is 3; expected a whole number from 260" "$BITTERN" prepare x --out y --vocab-size 3
expect 2 "--out is required" "$BITTERN" prepare x
expect 2 "--profile: is 0; expected a whole number from 1" "$BITTERN" train x --profile 0

# config
quickstart=$SOURCE/configs/quickstart.json
expect 0 '"steps": 77' "$BITTERN" config "$quickstart" --set train.steps=77
expect 0 '"seed": 5' "$BITTERN" config "$quickstart" --set run.seed=4 --set run.seed=5
expect 0 '"$schema"' "$BITTERN" config --schema
expect 0 "# Config reference" "$BITTERN" config --reference
expect 2 "takes no CONFIG" "$BITTERN" config "$quickstart" --schema
expect 2 "--schema excludes --reference" "$BITTERN" config --schema --reference
expect 2 "nowhere.json: cannot open: No such file or directory" "$BITTERN" config nowhere.json
expect 2 "did you mean train.steps?" "$BITTERN" config "$quickstart" --set train.stps=1
expect 2 "train.steps is 0; expected a whole number" "$BITTERN" train "$quickstart" --set train.steps=0
expect 2 "expected path.to.key=value" "$BITTERN" config "$quickstart" --set foo
printf '{"model": {"torch_dtype": "float32"}}' > ignored.json
expect 0 "ignored, changes nothing here: model.torch_dtype" "$BITTERN" config ignored.json
"$BITTERN" config ignored.json 2>/dev/null > effective.json
"$BITTERN" config effective.json > again.json
if ! cmp -s effective.json again.json; then
  echo "FAILED: the effective config does not read back to itself"
  failures=$((failures + 1))
fi
printf '{"run": {"seed": 1,}}' > comma.json
expect 2 "comma.json:1:20: not JSON: remove the comma before it" "$BITTERN" train comma.json

# What the other commands need and do not find.
printf '{"run": {"name": "x"}}' > no_data.json
expect 2 "data.path is not given" "$BITTERN" train no_data.json
expect 2 "nowhere" "$BITTERN" train "$quickstart" --set data.path=nowhere
expect 2 "nowhere" "$BITTERN" eval nowhere --data nowhere
expect 2 "nowhere" "$BITTERN" generate nowhere --prompt x
expect 2 "nowhere" "$BITTERN" export nowhere --out exported
expect 2 "nowhere" "$BITTERN" report nowhere
expect 2 "nowhere" "$BITTERN" prepare nowhere.txt --out data
for left in data exported runs; do
  if [[ -e $left ]]; then
    echo "FAILED: a refused command left $left behind"
    failures=$((failures + 1))
  fi
done

# The instruction set is chosen by BITTERN_ISA, and what this machine cannot run is refused with the list of what it can.
for i in $(seq 300); do echo "heron $i waits for $((i * 7 % 50)) fish"; done >text.txt
"$BITTERN" prepare text.txt --out text --vocab-size 300 >prepare.txt 2>&1 || cat prepare.txt
tiny="--set data.path=text --set data.sequence_length=16 --set model.hidden_size=8 --set model.num_hidden_layers=1
      --set model.num_attention_heads=1 --set model.num_key_value_heads=1 --set model.intermediate_size=8 --set train.steps=1
      --set train.batch_sequences=1 --set train.evaluate_every=0 --set train.sample_every=0"
printf '{}' >defaults.json
expect 0 "memory, cpu portable" env BITTERN_ISA=portable "$BITTERN" train defaults.json $tiny --out portable
expect 0 "memory, cpu " env BITTERN_ISA= "$BITTERN" train defaults.json $tiny --out best
expect 2 "environment: BITTERN_ISA is 'avx1024'; expected one that this machine can run: portable" \
  env BITTERN_ISA=avx1024 "$BITTERN" train defaults.json $tiny --out refused
expect 2 "unset it to get the best" env BITTERN_ISA=PORTABLE "$BITTERN" generate portable --prompt heron
# Every one of the list runs, and says that it does.
can_run=$(BITTERN_ISA=? "$BITTERN" train defaults.json $tiny --out refused 2>&1 | sed -n 's/.*can run: \(.*\); unset.*/\1/p')
for isa in ${can_run//,/}; do
  expect 0 "memory, cpu $isa" env BITTERN_ISA="$isa" "$BITTERN" train defaults.json $tiny --out "isa_$isa"
done

# Output that cannot be written is a failure.
if [[ -c /dev/full ]]; then
  "$BITTERN" config "$quickstart" > /dev/full 2> full.txt
  if [[ $? -ne 1 ]] || ! grep -q "cannot write to standard output" full.txt; then
    echo "FAILED: a full disk behind standard output went unnoticed"
    failures=$((failures + 1))
  fi
fi

# A reader that has seen enough is no failure: quiet, exit code 0.
for command in "plan $SOURCE/configs/base/llama_30m.json" "config --reference"; do
  code=$(bash -c '{ sleep 0.2; "$0" $1 2>closed.txt; echo $? >code.txt; } | true; cat code.txt' "$BITTERN" "$command")
  if [[ $code -ne 0 || -s closed.txt ]]; then
    echo "FAILED: $command into a closed pipe ended with $code: $(cat closed.txt)"
    failures=$((failures + 1))
  fi
done

if [[ $failures -gt 0 ]]; then
  echo "$failures failures"
  exit 1
fi
echo "cli: all good"
