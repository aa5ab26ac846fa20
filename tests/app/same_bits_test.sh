#!/usr/bin/env bash
# scripts/same_bits: a program equals itself; another decay is found in losses, weights and states, and may be named as expected.
set -euo pipefail
fail() { echo "FAILED: $*"; exit 1; }
git -C "$SOURCE" rev-parse --verify --quiet 'HEAD^{commit}' >/dev/null || { echo "no git repository here"; exit 77; }

# A copy, for the script writes into its repository.
git clone --quiet --shared "$SOURCE" clone
cp "$SOURCE/scripts/same_bits" clone/scripts/
asked() { clone/scripts/same_bits HEAD --old "$BITTERN" --new "$BITTERN" "$@" >out.txt 2>&1; }

asked --runs 'family/*o*' || fail "a program is said to differ from itself: $(cat out.txt)"
grep -q "equal *family/odd_widths" out.txt || fail "not told what is equal: $(cat out.txt)"

code=0; asked --runs family/tied --new-set optimizer.weight_decay=0.11 || code=$?
[ "$code" -eq 1 ] || fail "another decay is not found: $code, $(cat out.txt)"
for said in "DIFFERS *family/tied" "of step [23]: " "step_00000020/model.safetensors: .* tensors" "step_00000010/optimizer.safetensors"; do
  grep -q "$said" out.txt || fail "not told '$said': $(cat out.txt)"
done
! grep -q "resumed:" out.txt || fail "the resumed run has the old decay: $(cat out.txt)"

asked --runs family/tied --new-set optimizer.weight_decay=0.11 --expect-different 'family/*' || fail "an expected difference: $(cat out.txt)"
code=0; asked --runs no/such || code=$?
[ "$code" -eq 2 ] || fail "no run of that name: $code"
echo "same_bits: equal is equal, and a difference is named"
