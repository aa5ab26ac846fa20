#!/usr/bin/env bash
# The Debian package: made of this build, unpacked into an empty folder, the program runs from there and reads the quickstart's config.
set -euo pipefail
for tool in cpack dpkg-deb; do
  command -v "$tool" >/dev/null || { echo "SKIPPED: no $tool"; exit 77; }
done
fail() { echo "FAILED: $*"; exit 1; }

build=$(dirname "$BITTERN")
cpack -G DEB --config "$build/CPackConfig.cmake" -B "$PWD/packed" >log.txt 2>&1 || { cat log.txt; fail "cpack"; }
package=$(ls packed/*.deb)
[[ $package == packed/bittern_*_"$(dpkg --print-architecture)".deb ]] || fail "the package is called $package"
dpkg-deb -c "$package" >list.txt
for file in usr/bin/bittern usr/share/bittern/configs/quickstart.json usr/share/bittern/configs/base/llama_30m.json \
  usr/share/doc/bittern/README.md usr/share/doc/bittern/docs/guide.md usr/share/doc/bittern/copyright; do
  grep -q " \./$file\$" list.txt || fail "the package has no $file: $(cat list.txt)"
done
if command -v dpkg-shlibdeps >/dev/null; then
  dpkg-deb -f "$package" Depends | grep -q libsentencepiece || fail "it does not say which libraries it needs: $(dpkg-deb -f "$package")"
fi

dpkg-deb -x "$package" root
mv root/usr elsewhere  # what is installed must run wherever it lies
elsewhere/bin/bittern --version | grep -q "^bittern 0\." || fail "the installed program does not say its version"
for i in $(seq 500); do echo "the heron waits for the small fish under reed $((i % 17))"; done >text.txt
elsewhere/bin/bittern prepare text.txt --out data/quickstart --vocab-size 300 >/dev/null 2>log.txt || { cat log.txt; fail "prepare"; }
elsewhere/bin/bittern train elsewhere/share/bittern/configs/quickstart.json --out run --set train.steps=2 \
  --set train.batch_sequences=2 --set train.micro_batch_sequences=2 --set train.sample_every=0 --set schedule.warmup_fraction=0 \
  --set model.hidden_size=32 --set model.intermediate_size=48 2>log.txt || { cat log.txt; fail "train"; }
[ -d run/checkpoints/step_00000002 ] || fail "the installed program trained nothing"
echo "package: $(wc -l <list.txt) entries; installed, it trains"
