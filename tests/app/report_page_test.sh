#!/usr/bin/env bash
# The script of report.html (src/watch/page_chart.js, page.js) is run in node. Its functions are called one by one
# (report_functions.js). Then the whole script draws pages in a document of the test's own (report_page.js): of one run and of two
# it draws every curve that metrics.jsonl has, where it lies, whatever control is used. Where there is no node, ctest lists the
# test as skipped. What the page is given to draw is tested without it, in tests/watch/report_test.cpp.
set -euo pipefail
if ! command -v node >/dev/null; then
  echo "SKIPPED: there is no node, which runs the page's script; install the package nodejs"
  exit 77
fi
node "$SOURCE/tests/app/report_functions.js" "$SOURCE/src/watch/page_chart.js"
for i in $(seq 400); do echo "the heron number $i waits for fish $((i * 31 % 97))"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 --valid-fraction 0.2 >/dev/null 2>&1
for seed in 1 2 3; do
  statistics=$((seed == 3 ? 5 : 0))
  cat >config.json <<E2
{"run": {"seed": $seed}, "data": {"path": "corpus", "sequence_length": 32},
 "model": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48},
 "train": {"steps": 40, "batch_sequences": 2, "sample_every": 20, "sample_tokens": 8, "evaluate_every": 10, "statistics_every": $statistics}}
E2
  "$BITTERN" train config.json --out "run$seed" >/dev/null 2>log.txt || { cat log.txt; exit 1; }
done
"$BITTERN" report run1 run2 --out both.html >/dev/null

python3 - "$SOURCE/tests/app/report_page.js" "$SOURCE/src/watch" <<'E2'
import json, math, os, re, subprocess, sys


def draw(page, *arguments):
    done = subprocess.run(["node", sys.argv[1], page, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{page} {arguments}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


titles = {"Loss": "loss", "Gradient norm": "grad_norm", "Learning rate": "lr", "Tokens per second": "tokens_per_second"}
metrics = {run: [json.loads(line) for line in open(f"{run}/metrics.jsonl")] for run in ("run1", "run2")}
points = lambda line: [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", line)]


def check_places(line, run, key, scale=lambda value: value):
    """The line is the curve: from left to right, each point as high as its value."""
    values = [scale(entry[key]) for entry in metrics[run] if key in entry]
    at = points(line)
    assert len(at) == len(values) > 3, (key, len(at), len(values))
    assert all(a[0] < b[0] for a, b in zip(at, at[1:])), f"{key} does not go from left to right"
    high, low = max(range(len(values)), key=values.__getitem__), min(range(len(values)), key=values.__getitem__)
    pixels = (at[high][1] - at[low][1]) / (values[high] - values[low])
    assert pixels < 0, f"{key}: what is more is drawn lower"
    for (_, y), value in zip(at, values):
        assert abs(at[low][1] + pixels * (value - values[low]) - y) < 0.11, f"{key}: {value} is drawn at {y}"


page = open("run1/report.html").read()
for part in ("page.css", "page_chart.js", "page.js"):
    assert page.count(open(f"{sys.argv[2]}/{part}").read()) == 1, f"the page does not hold {part} as it is"

one = draw("run1/report.html")
charts = {chart["title"]: chart for chart in one["charts"]}
assert charts.keys() == titles.keys(), charts.keys()
assert charts["Loss"]["legend"] == ["train", "valid"], charts["Loss"]["legend"]
assert [len(charts[title]["lines"]) for title in titles] == [2, 1, 1, 1]
assert charts["Loss"]["circles"] >= 4, "no dots where it was evaluated"
check_places(charts["Loss"]["lines"][1], "run1", "valid_loss")
check_places(charts["Learning rate"]["lines"][0], "run1", "lr")  # the others are smoothed
assert all("step" in chart["texts"] and len(chart["texts"]) > 5 for chart in one["charts"]), "an axis without a name or numbers"
for text in ("Best valid loss", "Samples", "Configuration", "data.sequence_length"):
    assert text in one["text"], f"the page does not say {text}"
assert re.search(r"^step 2\d .* train [\d.]+ [\d.]+ +valid [\d.]+", " ".join(one["hovered"].split())), one["hovered"]

both = draw("both.html")
charts = {chart["title"]: chart for chart in both["charts"]}
assert [len(charts[title]["lines"]) for title in titles] == [4, 2, 2, 2], "not every curve of both runs"
for run, line in zip(metrics, charts["Learning rate"]["lines"]):
    check_places(line, run, "lr")
for text in ("2 runs", "run1", "run2", "What differs", "run.seed"):
    assert text in both["text"], f"the page of two runs does not say {text}"

# Every control is used: at the end the axes are logarithmic, nothing is smoothed, and every curve lies where its values are.
for page, runs in (("run1/report.html", ["run1"]), ("both.html", ["run1", "run2"])):
    used = {chart["title"]: chart for chart in draw(page, "use")["charts"]}
    for title, key in titles.items():
        keys = [key, "valid_loss"] if key == "loss" else [key]
        for line, (run, key) in zip(used[title]["lines"], [(run, key) for run in runs for key in keys], strict=True):
            check_places(line, run, key, math.log)
        assert "tokens" in used[title]["texts"], "the axis is not tokens"
# With statistics there is a chart for each number that some role has, and in it a curve for each role that has it.
statistics = [entry["statistics"] for entry in map(json.loads, open("run3/metrics.jsonl")) if "statistics" in entry]
assert len(statistics) == 8
metrics["run3"] = [{f"{role}.{key}": value for role, keys in line.items() for key, value in keys.items()} for line in statistics]
charts = {chart["title"]: chart for chart in draw("run3/report.html")["charts"]}
for title, key in {"Largest |m|": "m_absmax", "Largest v": "v_max"}.items():
    roles = sorted(role for role in statistics[0] if key in statistics[0][role])
    assert "mlp_linear" in roles and charts[title]["legend"] == roles, (title, charts[title]["legend"], roles)
    for role, line in zip(roles, charts[title]["lines"], strict=True):
        check_places(line, "run3", f"{role}.{key}")
assert "Weights changed in a step" not in charts, "a chart without a curve"

# A run that skipped a step says so, and marks the step on the axis of every chart.
with open("skipped.jsonl", "w") as file:
    for step in range(1, 21):
        loss = "null" if step == 7 else str(5 - step / 10)
        file.write(f'{{"step":{step},"tokens":{step},"loss":{loss},"lr":0.1,"grad_norm":1,"skipped":{str(step == 7).lower()},"skipped_steps":{int(step >= 7)}}}\n')
subprocess.run([os.environ["BITTERN"], "report", "skipped.jsonl", "--out", "skipped.html"], check=True, capture_output=True)
skipped = draw("skipped.html")
assert "1 step was skipped" in skipped["text"] and "(7; marked" in skipped["text"], skipped["text"][:300]
assert all(chart["skipped"] == 1 for chart in skipped["charts"]), [chart["skipped"] for chart in skipped["charts"]]
assert len(points(charts["Loss"]["lines"][0])) == 40 and len(points(skipped["charts"][0]["lines"][0])) == 19
print("report: its script draws what metrics.jsonl has, of one run and of two")
E2
