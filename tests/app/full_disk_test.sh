#!/usr/bin/env bash
# A disk that is full while a run saves: it is said, and where an older checkpoint is whole the run goes on and saves at the next
# interval; without one, and at the end, the save is tried once more and the run ends with 1. Nothing is lost: with space again, the same command ends with the weights, states and metrics of an undisturbed run. A place that cannot be written
# to is refused in a sentence. The limit on the size of a file (ulimit -f) stands for the full disk: it binds root too.
set -euo pipefail
fail() { echo "FAILED: $*"; cat log.txt; exit 1; }

for i in $(seq 2000); do echo "the heron waits for the small fish under reed $((i % 17)) of the evening water"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 >/dev/null 2>&1
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 32},
 "model": {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256},
 "train": {"steps": 40, "batch_sequences": 2, "checkpoint_every": 10, "keep_checkpoints": 0, "evaluate_every": 0}}
E2
last_step() { python3 -c 'import json,sys; print(max(json.loads(l)["step"] for l in open(sys.argv[1]) if l.endswith("\n")))' "$1/metrics.jsonl"; }
names() { (cd "$1/checkpoints" && echo *); }
# with_full_disk COMMAND...: no file may grow beyond 512 KiB; metrics and report fit, weights do not. The program makes an error of
# the signal that the system sends then (XFSZ).
with_full_disk() { bash -c "ulimit -f 512; exec \"\$@\"" - "$@"; }

"$BITTERN" train config.json --out undisturbed 2>log.txt || fail "the undisturbed run ended with $?"
weights=$(stat -c %s undisturbed/checkpoints/step_00000010/model.safetensors)
[ "$weights" -gt $((512 * 1024)) ] || fail "the weights have $weights bytes, and would fit the limit"

# Full from the beginning, and full after two checkpoints; written beside training, and in pieces.
sed 's/"checkpoint_every"/"snapshot": "pieces", "checkpoint_every"/' config.json >pieces.json
full_from() { # RUN CONFIG
  local run=$1 config=$2 code=0
  rm -rf "$run"
  [ $run = never ] || { mkdir later; cp -r undisturbed/. later; rm -r later/checkpoints/step_000000[34]0; }
  with_full_disk "$BITTERN" train $config --out $run 2>log.txt || code=$?
  [ $code -eq 1 ] || fail "$run: exit code $code, expected 1"
  # later: of step 30, of step 40 by the writer, and the one at the end.
  [ "$(grep -c 'cannot save the checkpoint' log.txt)" -eq $([ $run = never ] && echo 2 || echo 3) ] || fail "$run: a failed save and the one that was tried again are to be said"
  grep -q 'earlier checkpoints are untouched' log.txt || fail "$run: the message does not say what became of earlier checkpoints"
  grep -q 'cannot save the checkpoint' $run/log.txt || fail "$run: log.txt does not say it"
  grep -q '"status": *"failed"' $run/heartbeat.json || fail "$run: the heartbeat does not say failed"
  [ $run = never ] || grep -q '2 saves in a row have failed; the run goes on, the newest checkpoint is later/checkpoints/step_00000020' log.txt || fail "$run: nothing said of going on"
  [ $run = never ] || [ "$(names $run)" = "step_00000010 step_00000020" ] || fail "$run holds $(names $run)"
  [ $run = later ] || [ -z "$(ls $run/checkpoints)" ] || fail "$run holds $(names $run)"
  "$BITTERN" train $config --out $run 2>log.txt || fail "$run: with space again it ended with $?"
  "$SOURCE/tests/app/compare_runs" "$run" undisturbed 40 || fail "$run is not the undisturbed run"
}
for config in config.json pieces.json; do
  for run in never later; do full_from $run $config; done
done

# Full for a while: the run lives through it, and says when it has saved again.
sed 's/"steps": 40/"steps": 1000000/; s/"train"/"schedule": {"shape": "constant"}, "train"/; s/"keep_checkpoints": 0/"keep_checkpoints": 2/' config.json >long.json
"$BITTERN" train long.json --out while --set train.steps=10 2>log.txt || fail "the beginning ended with $?"
bash -c "ulimit -S -f 512; exec \"\$@\"" - "$BITTERN" train long.json --out while 2>log.txt &
pid=$! code=0
wait_for() { for _ in $(seq 600); do grep -q "$1" log.txt && return; sleep 0.05; done; kill $pid; fail "nothing said like '$1'"; }
wait_for '3 saves in a row have failed'
prlimit --pid $pid --fsize=unlimited
wait_for 'saved again, at step'
kill -TERM $pid
wait $pid || code=$?
[ $code -eq 75 ] || fail "full for a while: exit code $code, expected 75"

# A disk that becomes read-only, where the test may mount one: said, and what is there stays as it is.
mkdir disk
if mount -t tmpfs none disk 2>/dev/null; then
  trap 'umount disk 2>/dev/null || umount -l disk' EXIT
  mount -o remount,size=6m disk
  "$BITTERN" train config.json --out disk/small --set train.keep_checkpoints=4 --set train.steps=1 2>log.txt || fail "the small disk: $?"
  ! grep -q 'has room for' log.txt || fail "one checkpoint has room on the small disk"
  "$BITTERN" train config.json --out disk/small2 --set train.keep_checkpoints=4 2>log.txt || true
  grep -q 'warning: the disk of disk/small2 has room for' log.txt || fail "nothing said of a disk that is too small"
  rm -r disk/small disk/small2
  mount -o remount,size=1g disk
  mkdir disk/run
  cp -r undisturbed/. disk/run
  rm -r disk/run/checkpoints/step_000000[234]0
  mount -o remount,ro disk
  code=0
  "$BITTERN" train config.json --out disk/run 2>log.txt || code=$?
  [ $code -eq 1 ] && grep -q "^bittern: disk/run.*[Rr]ead-only" log.txt || fail "a read-only disk: exit code $code"
  mount -o remount,rw disk
  [ "$(names disk/run)" = "step_00000010" ] || fail "the read-only disk holds $(names disk/run)"
  "$BITTERN" train config.json --out disk/run 2>log.txt || fail "writable again, it ended with $?"
  "$SOURCE/tests/app/compare_runs" disk/run undisturbed 40 || fail "the run on the disk that was read-only is not the undisturbed run"
else
  echo "a read-only disk: not tried, this user may not mount one"
fi

# Places that cannot be written to, by root neither.
for out in /proc/bittern text.txt/run; do
  code=0
  "$BITTERN" train config.json --out $out 2>log.txt || code=$?
  [ $code -eq 1 ] || [ $code -eq 2 ] || fail "--out $out: exit code $code"
  grep -q "^bittern: .*$out" log.txt || fail "--out $out: no sentence that names it"
done
echo "full disk: said, tried again, and nothing lost"
