#!/usr/bin/env bash
# Every `#pragma omp simd` loop of the element math and the optimizer step is one that g++ can make branch-free. Where it cannot, it
# says nothing and the loop takes four times as long: a choice between two named floats in a header has done that more than once.
set -euo pipefail
cxx=${CXX:-c++}
if ! "$cxx" -v 2>&1 | grep -q "^gcc version" || [ "$(uname -m)" != x86_64 ]; then
  echo "SKIPPED: $cxx is not g++ for x86-64, whose reports this test reads"
  exit 77
fi
flags="-std=c++20 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -fopenmp-simd -I$SOURCE/include -I$SOURCE/src"
failed=0
for name in optimizer/{state_logarithmic,state_codebook,state_factored,state_rows,codebook_codes,weight_rows,rule_rows} quantize \
  codes/decode_e4m3 optimizer/optimizer_{statistics,sums,step}; do
  source=$SOURCE/src/ops/cpu/$name.cpp
  "$cxx" $flags -fopt-info-vec-missed -c "$source" -o object.o 2>report.txt
  grep -q "missed:" report.txt || { echo "$name.cpp: $cxx reports nothing"; exit 1; }
  # FILE:LINE of what it left as it is (g++ 14 says "unsupported"); the loop is the last `for` at or above the line.
  grep -E "missed: not vectorized: (unsupported )?control flow in loop" report.txt | cut -d: -f1,2 | sort -u >places.txt || true
  while IFS=: read -r file line; do
    loop=$(awk -v line="$line" 'NR <= line && /for \(/ {at = NR} END {print at + 0}' "$file")
    if [ "$loop" -gt 1 ] && sed -n "$((loop - 1))p" "$file" | grep -q "^#pragma omp simd"; then
      echo "$file:$loop: g++ left branches in this loop, so it is not vectorised:"
      sed -n "${loop}p" "$file"
      failed=1
    fi
  done <places.txt
done
exit $failed
