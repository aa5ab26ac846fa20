#!/usr/bin/env bash
# scripts/quickstart, from no corpus to a sample, with a run of a few steps; then again, and with text of one's own. The build
# is the program that is there already: a cmake of the test's own puts it where the preset would.
set -euo pipefail

fail() { echo "FAILED: $*"; exit 1; }
new_clone() { # FOLDER: what quickstart uses of a repository
  mkdir -p "$1"
  cp -r "$SOURCE/scripts" "$SOURCE/configs" "$1"
}

mkdir path
cat >path/cmake <<'E2'
#!/usr/bin/env bash
echo "$*" >>cmake.log
case "$*" in
  "--preset release") ;;
  "--build --preset release --target bittern") mkdir -p build/release && ln -sf "$BITTERN" build/release/bittern ;;
  *) echo "cmake was called with $*; it would make a build folder that scripts/test or the next quickstart has to redo" >&2; exit 1 ;;
esac
E2
# Nothing comes over the network but the distribution's packages.
for tool in curl wget git pip pip3; do
  printf '#!/bin/sh\necho "%s $*" >>"%s/network.log"\nexit 1\n' "$tool" "$PWD" >"path/$tool"
done
chmod +x path/*
export PATH=$PWD/path:$PATH
export QUICKSTART_SET="train.steps=2 train.batch_sequences=2 train.micro_batch_sequences=1 train.evaluate_every=0 train.sample_every=0"

new_clone clone
clone/scripts/quickstart >out.txt 2>&1 || fail "the quickstart: $(cat out.txt)"
grep -q "== a sample" out.txt || fail "no sample: $(cat out.txt)"
for said in "The curves are in" "tok/s" "% of peak" "left"; do
  grep -q -- "$said" out.txt || fail "the quickstart does not say '$said': $(cat out.txt)"
done
grep -nE "FetchContent|ExternalProject|file\(DOWNLOAD" "$SOURCE/CMakeLists.txt" && fail "the build would fetch that"
[ ! -e network.log ] || fail "the quickstart called $(cat network.log)"
grep -q "The function" out.txt || fail "no sample: $(cat out.txt)"
for made in data/quickstart/data.json runs/quickstart/report.html runs/quickstart/checkpoints/step_00000002 build/release/bittern; do
  [ -e "clone/$made" ] || fail "no $made"
done
# The data path in the config and the examples of every --help are those of the quickstart.
(cd clone && build/release/bittern eval runs/quickstart --data data/quickstart --max-sequences 1 >/dev/null) || fail "bittern eval as --help has it"

clone/scripts/quickstart >again.txt 2>&1 || fail "a second quickstart: $(cat again.txt)"
grep -q "== prepare" again.txt && fail "a second quickstart prepared the text again"

# Other text than the corpus was made of is refused before anything is done.
echo "other" >other.txt
code=0; clone/scripts/quickstart other.txt >refused.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "rm -r data/quickstart runs/quickstart" refused.txt || fail "other text: $code, $(cat refused.txt)"
code=0; clone/scripts/quickstart no_such.txt >refused.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "no_such.txt: no such file" refused.txt || fail "missing text: $code, $(cat refused.txt)"

# One's own text, named from elsewhere; the same name again goes on.
new_clone own
mkdir elsewhere
cp clone/data/quickstart_text/perlfunc.txt clone/data/quickstart_text/perlop.txt elsewhere
for call in first second; do
  (cd elsewhere && ../own/scripts/quickstart perlfunc.txt perlop.txt) >own.txt 2>&1 || fail "text of one's own, $call call: $(cat own.txt)"
done
[ "$(cat own/data/quickstart.inputs)" = "$(realpath elsewhere/perlfunc.txt elsewhere/perlop.txt)" ] || fail "the inputs were not noted"
code=0; own/scripts/quickstart elsewhere/perlop.txt >refused.txt 2>&1 || code=$?
[ "$code" -eq 2 ] || fail "a part of the text was taken for all of it"

# scripts/test has a build folder of its own: neither script makes the other build anew.
grep -q -- "--preset release" "$SOURCE/scripts/test" && fail "scripts/test builds in the quickstart's folder"
echo "quickstart: from nothing to a sample, again, and with text of one's own"
