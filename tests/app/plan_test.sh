#!/usr/bin/env bash
# bittern plan: for every config of the repository the categories add up to the total, agree with the table by role, and leave next
# to nothing to alignment; a run that does not fit is refused, by train as well; the text says what the JSON says.
set -euo pipefail

python3 - "$SOURCE" "$BITTERN" <<'E2'
import json, pathlib, re, struct, subprocess, sys

source, bittern = pathlib.Path(sys.argv[1]), sys.argv[2]


def plan(config, *arguments):
    done = subprocess.run([bittern, "plan", str(config), "--set", "model.vocab_size=32000", *arguments], capture_output=True, text=True)
    refused = done.returncode == 2 and "iB is available; lower train.micro_batch_sequences (now " in done.stderr
    assert done.returncode == 0 or refused and done.stdout, done.stderr
    return done.stdout, refused


def check(plan, refused):
    assert refused == (plan["total_bytes"] > plan["available_bytes"]), "refused or not, whatever the memory"
    memory = dict(plan["memory"])
    alignment = memory.pop("alignment")
    assert sum(memory.values()) + alignment == plan["total_bytes"], "the categories do not add up to the total"
    # A tensor begins at a cache line; those of one type lie side by side without gaps: a few dozen gaps of less than 64 bytes.
    assert 0 <= alignment < 4096, f"alignment is {alignment} bytes"
    # What belongs to parameters, once by category and once by role: of no byte two opinions.
    by_role = lambda *columns: sum(role["bytes"][column] for role in plan["roles"].values() for column in columns)
    assert memory.pop("weights") == by_role("weight", "scales"), "weights"
    assert memory.pop("gradients") == by_role("gradient"), "gradients"
    assert memory.pop("optimizer states") == by_role("m + v") == by_role("m", "v"), "states"
    assert memory.pop("master weights", 0) == by_role("master"), "master weights"
    assert memory.pop("checkpoint snapshot", 0) == (by_role("kept") if plan["snapshot"] == "full" else 0), "what a checkpoint holds"
    assert all(memory.pop(name) > 0 for name in ("scratch", "data", "activations and scratch of a step, shared"))
    assert memory.keys() <= {"sampling"}, f"categories that nobody expects: {memory}"
    # The step's work: its ops add up, and the products of matrices are nearly all of what a token costs by the usual count.
    step = plan["step"]
    for number in ("calls", "flops", "bytes"):
        assert step[number] == sum(op[number] for op in step["ops"].values()), f"{number} of the ops"
    assert all(op["calls"] > 0 and op["bytes"] > 0 for op in step["ops"].values()), step
    usual = plan["flops_per_token"] * plan["tokens_per_step"]
    assert 1 <= step["flops"] / usual < 1.4, f"{step['flops']} FLOP are run, the usual count is {usual}"  # 4/3: recomputed
    assert plan["parameters"] == sum(role["parameters"] for role in plan["roles"].values())


configs = sorted((source / "configs").rglob("*.json"))
for config in configs:
    try:
        text, refused = plan(config, "--json")
        check(json.loads(text), refused)
    except AssertionError as error:
        sys.exit(f"{config.relative_to(source)}: {error}")
assert len(configs) > 200, f"only {len(configs)} configs were found"

# What fits nowhere: shown by plan, and refused by both, with what to change.
config = source / "configs/quickstart.json"
huge = ["--set", "train.batch_sequences=1000000", "--set", "train.micro_batch_sequences=1000000", "--set", "data.sequence_length=256"]
assert plan(config, *huge)[1], "a plan of many terabytes was not refused"
pathlib.Path("tokens.bin").write_bytes(struct.pack("<256i", 20240520, 1, 9000, *[0] * 253) + bytes(18000))
done = subprocess.run([bittern, "train", str(config), *huge, "--set", "model.vocab_size=32000", "--set", "data.path=tokens.bin",
                       "--set", "train.sample_every=0", "--set", "train.evaluate_every=0"], capture_output=True, text=True)
assert done.returncode == 2 and "is available; lower train.micro_batch_sequences (now 1000000)" in done.stderr, done.stderr

# The text: the same rows and the same total, in bytes with commas.
whole, text = json.loads(plan(config, "--json")[0]), plan(config)[0]
rows = {name: int(count.replace(",", "")) for name, count in re.findall(r"^(\S.*?) {2,}([\d,]{4,}) {2,}.*B +[\d.]+$", text, re.M)}
expected = {name: count for name, count in whole["memory"].items() if name != "alignment"} | {"total": whole["total_bytes"]}
assert rows == expected, f"the text has {rows}, the JSON {expected}"
calls = {op: int(count.replace(",", "")) for op, count in re.findall(r"^([a-z_]+) +([\d,]+) +\S+ +[\d.]+ \S*B$", text, re.M)}
assert calls == {op: cost["calls"] for op, cost in whole["step"]["ops"].items()} | {"total": whole["step"]["calls"]}, calls

# Checkpoints in pieces: the same plan without the copy.
pieces, text = json.loads(plan(config, "--json", "--set", "train.snapshot=pieces")[0]), plan(config, "--set", "train.snapshot=pieces")[0]
assert (whole["snapshot"], pieces["snapshot"]) == ("full", "pieces") and "checkpoints: written in pieces" in text, text
copy = whole["memory"].pop("checkpoint snapshot")
assert 0 <= whole["total_bytes"] - pieces["total_bytes"] - copy < 64 and whole["memory"].keys() == pieces["memory"].keys(), pieces
print(f"plan: the bytes of {len(configs)} configs add up")
E2
