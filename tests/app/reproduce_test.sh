#!/usr/bin/env bash
# scripts/reproduce: rows and sizes are those of the configs; a table from text, stopped in the middle and gone on with; what is missing
# is named; what a run was made with is noted when it starts; fine-tuning begins with a model; a run that others stop goes on.
set -euo pipefail

fail() { echo "FAILED: $*"; exit 1; }
reproduce() { "$SOURCE/scripts/reproduce" "$@" --bittern "$BITTERN"; }

python3 - "$SOURCE" <<'E2' || fail "scripts/papers.py is not what configs has, or a formula is wrong"
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
# Every folder of rows is a size of one paper, and a size has rows of its paper, its baseline among them.
configs = pathlib.Path(sys.argv[1]) / "configs"
not_rows = {"treatments", "sizes", "environments", "states"}
folders = {path for path in configs.glob("*/*") if path.is_dir() and path.name not in not_rows and path.parent.name != "mini"}
assert folders == {configs / size.folder for paper in papers.values() for size in paper.sizes}, folders
for name, paper in papers.items():
    for size in paper.sizes:
        files = {path.stem for path in (configs / size.folder).glob("*.json")} - {"recipe"}
        assert paper.baseline in files and files <= {row.name for row in paper.rows}, (size, files - {row.name for row in paper.rows})
        assert size.fine_tuning == any(word in size.folder for word in ("finetune", "int4")), size
for freedom, quantile in ((1, 6.314), (9, 1.833), (10, 1.8125), (12, 1.7823), (15, 1.7531), (30, 1.6973), (10**6, 1.6449)):
    assert abs(result_table.student_t(freedom) - quantile) < (6e-4 if freedom < 10 else 2e-4), (freedom, result_table.student_t(freedom))
# What is said of a claim: three seeds that agree, that disagree, and a run that diverged.
inf = float("inf")
for values, expected in (([-.1, -.11, -.09], "holds"), ([.1, .11, .09], "does not hold"), ([-.1, .1, .02], "not shown"),
                         ([-inf, -inf], "holds"), ([inf, -.1], "not shown"), ([float("nan")], "not shown"), ([-.1], "not shown (one seed)")):
    assert result_table.verdict(values) == expected, (values, expected, result_table.verdict(values))
# A run that ends far worse than guessing has diverged, also if its numbers are finite: ln 2048 is 7.62.
run = pathlib.Path("ended"); run.mkdir()
(run / "heartbeat.json").write_text('{"status": "finished", "message": ""}')
(run / "config.json").write_text('{"model": {"vocab_size": 2048}}')
for loss, expected in ((4.5, 4.5), (8.0, 8.0), (810.2, inf)):
    (run / "metrics.jsonl").write_text(f'{{"step": 4, "valid_loss": {loss}}}\n')
    assert result_table.final_loss(run) == expected, loss
# A table of a single evaluation has a picture, and its time is that of the last line which has one.
(run / "metrics.jsonl").write_text('{"step": 2, "loss": 4.6, "seconds": 30}\n{"step": 4, "loss": 4.5, "seconds": 90.5}\n{"step": 4, "valid_loss": 4.5, "seconds": 90.5}\n{"step": 4, "checkpoint_ms": 1}\n')
assert result_table.trained_seconds(run) == 90.5
one = pathlib.Path("one/states_32/seed1"); one.parent.mkdir(parents=True); run.rename(one)
from types import SimpleNamespace
assert "4.5000" in result_table.curves(papers["solo"], [SimpleNamespace(row="states_32", folder=one, loss=lambda: 4.5)])
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
grep -q '<path d="M[0-9. L]*" fill="none"' "$folder/curves.svg" || fail "no curve in the picture"
grep -q "states_32_beta_0.3-1" "$folder/curves.html" || fail "no curve"
"$SOURCE/scripts/recipe_table" "$folder" --bittern "$BITTERN" --picture recipes.svg >recipes.md || fail "no table of recipes"
grep -q "| 12.00 | 32/32, beta1 .9 | solo-mini-4-steps | +0.0000 | 2 |" recipes.md || fail "the baseline is not among the recipes: $(cat recipes.md)"
[ "$(grep -c "<circle\|<path d=.*fill=.#[0-9a-f]*./><text" recipes.svg)" -ge 3 ] || fail "not two points and a legend in the picture of recipes"
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

# What a run was made with stands in its own file; a run of an older reproduce has none.
hash=$(sha256sum text.txt | cut -d' ' -f1)
facts() { sed -n '/^```/,/^```/p' "$folder/table.md"; }
facts | grep -q "^text      text.txt: $(stat -c %s text.txt | sed ':a;s/\B[0-9]\{3\}\>/,&/;ta') bytes, SHA-256 $hash$" || fail "the text is not in the table: $(facts)"
known=$(git -C "$SOURCE" rev-parse --short HEAD 2>/dev/null || echo unknown) # a copy without git, or on a machine without
[ "$(facts | grep -c "^commit    $known\|^program   SHA\|^machine")" -eq 3 ] || fail "not one line a fact: $(facts)"
facts | grep -q "^time      [0-9]* min of training steps, summed over 4 runs$" || fail "no time: $(facts)"
sed -i 's/"commit": "[^"]*"/"commit": "older"/' "$folder/states_32/seed1.starts.jsonl"
rm "$folder/states_32_beta_0.3/seed2.starts.jsonl" out/data.text
run 4 >said.txt 2>&1 || fail "without a file of facts: $(cat said.txt)"
facts | grep -q "^          older (states_32/seed1)$" || fail "another commit is not told: $(facts)"
facts | grep -q "^          unknown (states_32_beta_0.3/seed2)$" || fail "what is unknown is not said: $(facts)"
[ "$(facts | grep -c "^machine")" -eq 1 ] && facts | grep -q "^machine.* (most runs)$" || fail "machine: $(facts)"

# A program that trains nothing: `train` notes its arguments, and ends with 75 as often as the file `stops` says.
cat >program <<E2
#!/usr/bin/env python3
import json, os, subprocess, sys
given = sys.argv[1:]
if given[0] != "train":
    os.execv("$BITTERN", ["$BITTERN", *given])
out = given[given.index("--out") + 1]
os.makedirs(out, exist_ok=True)
open("trained.txt", "a").write(" ".join(given) + "\\n")
settings = [word for i, word in enumerate(given) if given[max(0, i - 1)] == "--set"]
stops = int(open("stops").read())
open("stops", "w").write(str(stops - 1))
beat = {"step": 3, "time": 0, "pid": os.getpid(), "status": "finished" if stops <= 0 else "stopped", "message": ""}
json.dump(beat, open(out + "/heartbeat.json", "w"))
if stops > 0:
    print("stopped by someone"), sys.exit(75)
words = ["--set", "model.vocab_size=2048"] + [word for setting in settings for word in ("--set", setting)]
open(out + "/config.json", "w").write(subprocess.run(["$BITTERN", "config", given[1], *words], capture_output=True, text=True, check=True).stdout)
rate = next((float(setting.split("=")[1]) for setting in settings if setting.startswith("schedule.lr=")), 2e-3)
loss = 2.5 + 100 * abs(rate - 2e-3)  # 2e-3 is the best rate
open(out + "/metrics.jsonl", "w").write('{"step":0,"run":"fake","parameters":7}\\n{"step":3,"tokens":9,"valid_loss":%g,"valid_tokens":9}\\n' % loss)
E2
chmod +x program
fake() { "$SOURCE/scripts/reproduce" "$@" --bittern ./program --jobs 1 --seeds 1 --out fake; }
echo 0 >stops

# Fine-tuning begins with a model, and says so where there is none.
for size in "solo 7b_finetune" "adam4bit 7b_finetune" "eco_int4 int4"; do
  code=0; fake ${size% *} --size "${size#* }" --data out/data >said.txt 2>&1 || code=$?
  [ "$code" -eq 2 ] && grep -q "fine-tunes a pretrained model; name its folder with --init" said.txt || fail "$size without --init: $code, $(cat said.txt)"
done
code=0; fake eco --size int4 --data out/data >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "eco has no such size; expected one of 30m, 50m, " said.txt || fail "no size: $code, $(cat said.txt)"
code=0; fake eco --init model >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "begins with random weights; leave --init out" said.txt || fail "--init in miniature: $code, $(cat said.txt)"
code=0; fake eco_int4 --size int4 --data out/data --init nowhere >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "nowhere: no model there" said.txt || fail "--init nowhere: $code, $(cat said.txt)"
mkdir model && echo "{}" >model/config.json
fake eco_int4 --size int4 --rows int4_master_rtn,eco_int4_sr --data out/data --init model >said.txt 2>&1 || fail "eco_int4 --size int4: $(cat said.txt)"
[ "$(grep -c -- "--init $PWD/model" trained.txt)" -eq 2 ] || fail "not both began with the model: $(cat trained.txt)"
grep -q "^init      $PWD/model$" fake/eco_int4-int4/table.md && grep -q "^text      prepared before: .* bytes in 1 file, SHA-256 of data.json [0-9a-f]*$" fake/eco_int4-int4/table.md ||
  fail "model or text is not in the table: $(cat fake/eco_int4-int4/table.md)"

# Several peak rates: every row is trained at each, and the table has it at its best.
rm trained.txt
code=0; fake frontier --rates 1e-3,fast --data out/data >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "expected numbers with commas between them" said.txt || fail "a rate that is none: $code, $(cat said.txt)"
code=0; fake frontier --rates 1e-3 --rate 2 --data out/data >said.txt 2>&1 || code=$?
[ "$code" -eq 2 ] && grep -q "leave --rate out" said.txt || fail "--rates and --rate: $code, $(cat said.txt)"
fake frontier --rates 1e-3,2e-3,8e-3 --rows adamw,muon --steps 4 --data out/data >said.txt 2>&1 || fail "--rates: $(cat said.txt)"
for rate in 0.001 0.002 0.008; do
  [ "$(grep -c "schedule.lr=$rate$" trained.txt)" -eq 2 ] || fail "not both rows at $rate: $(cat trained.txt)"
done
[ "$(wc -l <trained.txt)" -eq 6 ] || fail "not six runs: $(cat trained.txt)"
table=fake/frontier-mini-rates-4-steps/table.md
[ "$(grep -c "^| \(AdamW\|Muon\), f32.* | 2.5000 |  |" $table)" -eq 2 ] || fail "a row is not at its best rate: $(cat $table)"
[ "$(grep -c "| 2.6000 (1) | 2.5000 (1) | 3.1000 (1) |" $table)" -eq 2 ] || fail "not each rate is in the table: $(cat $table)"

# Stopped by someone else: it goes on, a few times; also where others wait for it.
echo 2 >stops && rm trained.txt
fake eco_int4 --rows eco_int4_sr --data out/data --steps 4 >said.txt 2>&1 || fail "stopped twice: $(cat said.txt)"
[ "$(grep -c "not from here: it goes on" said.txt)" -eq 2 ] && [ "$(wc -l <trained.txt)" -eq 4 ] || fail "not started again: $(cat said.txt trained.txt)"
echo 99 >stops
code=0; timeout 60 "$SOURCE/scripts/reproduce" eco_int4 --bittern ./program --rows eco_int4_sr --seeds 1 --jobs 1 --data out/data --steps 5 --out fake >said.txt 2>&1 || code=$?
[ "$code" -eq 75 ] && grep -q "again and again (4 times): stopped by someone" said.txt || fail "stopped for ever: $code, $(cat said.txt)"
echo "reproduce: a table from text, stopped and gone on with; what is missing is named; facts of each start; fine-tuning; stopped by others"
