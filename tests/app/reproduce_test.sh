#!/usr/bin/env bash
# scripts/reproduce: rows are those of the configs; a table from text, stopped in the middle and gone on with; what is missing is named.
set -euo pipefail

fail() { echo "FAILED: $*"; exit 1; }
reproduce() { "$SOURCE/scripts/reproduce" "$@" --bittern "$BITTERN"; }

python3 - "$SOURCE" <<'E2' || fail "the rows of scripts/papers.py are not those of configs/mini"
import pathlib, sys
sys.path.insert(0, sys.argv[1] + "/scripts")
sys.dont_write_bytecode = True
from papers import papers
import result_table
for name, paper in papers.items():
    files = {path.stem for path in (pathlib.Path(sys.argv[1]) / "configs/mini" / name).glob("*.json")} - {"base"}
    rows = [row.name for row in paper.rows]
    assert files == set(rows) and len(rows) == len(files), (name, files ^ set(rows))
    assert paper.baseline in rows, name
    for claim in paper.claims:
        claim.below_zero({row: 1.0 for row in rows})  # speaks of rows that exist
for freedom, quantile in ((1, 6.314), (9, 1.833), (10, 1.8125), (12, 1.7823), (15, 1.7531), (30, 1.6973), (10**6, 1.6449)):
    assert abs(result_table.student_t(freedom) - quantile) < (6e-4 if freedom < 10 else 2e-4), (freedom, result_table.student_t(freedom))
# What is said of a claim: three seeds that agree, that disagree, and a run that diverged.
inf = float("inf")
for values, expected in (([-.1, -.11, -.09], "holds"), ([.1, .11, .09], "does not hold"), ([-.1, .1, .02], "not shown"),
                         ([-inf, -inf], "holds"), ([inf, -.1], "not shown"), ([float("nan")], "not shown"), ([-.1], "not shown (one seed)")):
    assert result_table.verdict(values) == expected, (values, expected, result_table.verdict(values))
E2

code=0; "$SOURCE/scripts/reproduce" eco --bittern nowhere >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "nowhere is not there; build it" said.txt || fail "no program: $code, $(cat said.txt)"
code=0; reproduce eco --data nowhere.txt >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "nowhere.txt: no such file" said.txt || fail "no text: $code, $(cat said.txt)"
code=0; reproduce eco --rows eco_st --data . >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "eco_st is no row of eco; expected some of bf16_master" said.txt || fail "no row: $code, $(cat said.txt)"
code=0; reproduce eco --size 30m >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "needs --data DIR" said.txt || fail "no data: $code, $(cat said.txt)"

python3 - <<'E2'
import random
random.seed(1)
words = ["".join(random.choice("bdfgklmnprst") + random.choice("aeiou") for _ in range(random.randint(1, 4))) for _ in range(1000)]
open("text.txt", "w").write("".join(" ".join(random.choice(words) for _ in range(9)) + ".\n" for _ in range(8000)))
E2
run() { reproduce solo --rows states_32,states_32_beta_0.3 --seeds 2 --jobs 2 --steps "$1" --data text.txt --out out; }
run 4 >said.txt 2>&1 || fail "two rows: $(cat said.txt)"
folder=out/solo-mini-4-steps
grep -q "| 32/32, beta1 .9 | 12.00 |" "$folder/table.md" || fail "no row in the table: $(cat "$folder/table.md")"
[ "$(grep -c "^| .* | 2 |" "$folder/table.md")" -eq 2 ] || fail "not two rows of two seeds: $(cat "$folder/table.md")"
grep -q "states_32_beta_0.3-1" "$folder/curves.html" || fail "no curve"
run 4 >said.txt 2>&1 || fail "again: $(cat said.txt)"
grep -q "4 of 4 runs are finished already" said.txt || fail "finished runs were not left alone: $(cat said.txt)"
code=0; reproduce solo --rows states_32 --seeds 1 --steps 4 --data "$SOURCE/LICENSE" --out out >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "was made of other text" said.txt || fail "other text: $code, $(cat said.txt)"

# Stopped: ends with 75, and the same command makes the table.
stopped=("$SOURCE/scripts/reproduce" solo --bittern "$BITTERN" --rows states_32 --seeds 1 --steps 100 --data text.txt --out out)
set +e
"${stopped[@]}" >said.txt 2>&1 &
until grep -qs '"status":"training"' out/solo-mini-100-steps/states_32/seed1/heartbeat.json; do sleep 0.1; done
kill -TERM $!; wait $!; code=$?
set -e
[ "$code" -eq 75 ] && grep -q "the same command goes on" said.txt || fail "stopped: $code, $(cat said.txt)"
[ -e out/solo-mini-100-steps/table.md ] && fail "a table of unfinished runs"
"${stopped[@]}" >said.txt 2>&1 || fail "gone on: $(cat said.txt)"
grep -q "resumed\|going on\|from step" out/solo-mini-100-steps/states_32/seed1.txt || fail "it did not go on: $(cat out/solo-mini-100-steps/states_32/seed1.txt)"
[ -e out/solo-mini-100-steps/table.md ] || fail "no table"
echo "reproduce: a table from text, stopped and gone on with; what is missing is named"
