#!/usr/bin/env bash
# Every signal that a terminal, a batch system or a limit sends: the run stops between micro-batches, saves the last finished step, exits with 75, and the same command
# goes on to the end, where weights, states and metrics are those of an undisturbed run. Also while it evaluates. A second Ctrl-C
# ends it at once; under nohup SIGHUP does nothing.
set -euo pipefail
fail() { echo "FAILED: $*"; cat log.txt; exit 1; }

for i in $(seq 3000); do echo "the heron waits for the small fish under reed $((i % 17)) of the evening water"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 --valid-fraction 0.3 >/dev/null 2>&1
# CONFIG STEPS EVALUATE_EVERY. A constant rate, which does not depend on the length: the undisturbed run is cut to the length
# that the disturbed one has reached, and goes on with it.
config() {
  cat >"$1" <<E2
{"data": {"path": "corpus", "sequence_length": 32},
 "model": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48},
 "schedule": {"shape": "constant", "lr": 1e-3, "warmup_steps": 5},
 "train": {"steps": $2, "batch_sequences": 4, "micro_batch_sequences": 1, "checkpoint_every": 0,
           "evaluate_every": $3, "evaluate_sequences": 0}}
E2
}
last_step() { python3 -c 'import json,sys; print(max(json.loads(l)["step"] for l in open(sys.argv[1]) if l.endswith("\n")))' "$1/metrics.jsonl"; }
# wait_for RUN STEP: until the run has logged so many steps.
wait_for() {
  for _ in $(seq 600); do
    [ -s "$1/metrics.jsonl" ] && [ "$(last_step "$1")" -ge "$2" ] && return
    sleep 0.05
  done
  fail "$1 did not reach step $2 in 30 seconds"
}
# stop SIGNAL RUN CONFIG STEP: starts the run, and signals it after the step.
stop() {
  "$BITTERN" train "$3" --out "$2" 2>log.txt &
  local pid=$! code=0
  wait_for "$2" "$4"
  sleep "0.0$((RANDOM % 9))"
  kill -"$1" "$pid"
  wait "$pid" || code=$?
  [ "$code" -eq 75 ] || fail "SIG$1: exit code $code, expected 75"
  grep -q '"status": *"stopped"' "$2/heartbeat.json" || fail "the heartbeat does not say stopped"
  [ -d "$2/checkpoints/$(printf 'step_%08d' "$(last_step "$2")")" ] || fail "the last finished step $(last_step "$2") was not saved"
}
same() { "$SOURCE/tests/app/compare_runs" "$@" || fail "$1 and $2 differ at step $3"; }

for signal in TERM INT; do
  run=run_$signal
  config long.json 1000000 0
  stop "$signal" "$run" long.json 20
  stop "$signal" "$run" long.json "$(($(last_step "$run") + 5))"
  end=$(($(last_step "$run") + 5))
  config end.json "$end" 0
  for out in "$run" "undisturbed_$signal"; do
    "$BITTERN" train end.json --out "$out" --set train.checkpoint_every=1000000 2>log.txt || fail "$out did not go on to step $end"
  done
  same "$run" "undisturbed_$signal" "$end"
done

# The others, and what each is called in the log.
config long.json 1000000 0
for signal in HUP USR1 USR2 XCPU; do
  stop "$signal" run_others long.json $(($(last_step run_others 2>/dev/null || echo 0) + 3))
  grep -q "stopped by SIG$signal after step" run_others/log.txt || fail "the log does not say that SIG$signal asked"
done

# nohup: the terminal may go.
(trap '' HUP; exec "$BITTERN" train long.json --out run_nohup 2>log.txt) &
pid=$! code=0
wait_for run_nohup 3
kill -HUP $pid
wait_for run_nohup $(($(last_step run_nohup) + 5))
kill -TERM $pid
wait $pid || code=$?
[ $code -eq 75 ] || fail "under nohup: exit code $code, expected 75"

# Between micro-batches, not after the step: here a step is six thousand of them and takes seconds, so a stop that waited
# for the step would log and save the second one.
config many.json 10 0
"$BITTERN" train many.json --out run_many --set train.batch_sequences=6000 2>log.txt &
pid=$! code=0
wait_for run_many 1
kill -TERM $pid
wait $pid || code=$?
[ $code -eq 75 ] || fail "between micro-batches: exit code $code, expected 75"
[ "$(last_step run_many)" -eq 1 ] || fail "the step was finished first: the last one logged is $(last_step run_many)"
[ "$(ls run_many/checkpoints)" = step_00000001 ] || fail "not the last finished step was saved: $(ls run_many/checkpoints)"

# A second Ctrl-C does not wait for the border: here one micro-batch, the whole step, takes seconds.
"$BITTERN" train many.json --out run_twice --set run.threads=1 --set train.batch_sequences=256 \
  --set train.micro_batch_sequences=256 --set model.hidden_size=256 --set model.intermediate_size=1024 \
  --set model.num_hidden_layers=16 --set train.recompute=block --set model.num_key_value_heads=2 2>log.txt &
pid=$! code=0
for _ in $(seq 600); do grep -q 'of memory' run_twice/log.txt 2>/dev/null && break; sleep 0.05; done
sleep 1  # the machine's peak is measured
kill -INT $pid
sleep 0.2
kill -INT $pid || fail "one Ctrl-C was enough: $(cat run_twice/log.txt)"
wait $pid || code=$?
[ $code -eq 130 ] || fail "a second Ctrl-C: exit code $code, expected 130"
[ ! -e run_twice/checkpoints/step_00000001 ] || fail "a second Ctrl-C waited for the step"

# While it evaluates, which here takes most of the time, on every step: the evaluation is owed, and the resumed run begins with
# it. The run is too long to end by itself before the signal comes, however slowly this script is served.
config evaluating.json 1000000 1
during=0 stops=0 at=2
while [ "$stops" -lt 3 ] || { [ "$during" -eq 0 ] && [ "$stops" -lt 20 ]; }; do
  stop TERM run_evaluating evaluating.json "$at"
  stops=$((stops + 1)) at=$(($(last_step run_evaluating) + 2))
  tail -1 run_evaluating/metrics.jsonl | grep -q valid_loss || during=$((during + 1))
done
[ "$during" -gt 0 ] || fail "none of $stops stops came while the run evaluated"
end=$(($(last_step run_evaluating) + 2))
config evaluating.json "$end" 1
for out in run_evaluating undisturbed_evaluating; do
  "$BITTERN" train evaluating.json --out "$out" --set train.checkpoint_every=1000000 2>log.txt || fail "$out did not go on to the end"
done
same run_evaluating undisturbed_evaluating "$end"
# A reader that goes away (`bittern train ... | head -1`) does not end the run, nor make noise.
config piped.json 30 10
"$BITTERN" train piped.json --out run_piped 2> >(head -1 >/dev/null) || fail "a closed pipe ended the run"
[ "$(last_step run_piped)" -eq 30 ] || fail "a closed pipe ended the run at step $(last_step run_piped)"
echo "signals: stopped, saved, and went on to what an undisturbed run ends with"
