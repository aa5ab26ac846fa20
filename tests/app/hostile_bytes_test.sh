#!/usr/bin/env bash
# Files that somebody damaged on purpose hold what a terminal obeys: escape sequences, control characters, bytes that are not UTF-8.
# None of that reaches the terminal or a run's log: every message is short, readable text, and no command crashes.
set -euo pipefail
for i in $(seq 400); do echo "the heron number $i waits for fish $((i * 31 % 97))"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 --valid-fraction 0.2 >/dev/null 2>&1
cat >config.json <<'E3'
{"data": {"path": "corpus", "sequence_length": 16},
 "model": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24},
 "train": {"steps": 2, "batch_sequences": 2, "evaluate_every": 0, "checkpoint_every": 1}}
E3
"$BITTERN" train config.json --out run >/dev/null 2>log.txt || { cat log.txt; exit 1; }

python3 - <<'E3'
import json, os, pathlib, re, shutil, subprocess, sys

bittern = os.environ["BITTERN"]
evil = b"\x1b[2J\x1b]0;owned\x07\r\x00\x7f\xff\xc2\x9b31m"
failures, ran = [], 0


def check(what, *arguments):
    global ran
    ran += 1
    done = subprocess.run([bittern, *arguments], capture_output=True, timeout=60)
    said = done.stderr + (b"" if arguments[0] == "generate" else done.stdout)  # into a pipe a text goes as it is
    where = f"{what}: bittern {arguments[0]}"
    if done.returncode < 0 or done.returncode > 2:
        failures.append(f"{where} ended with {done.returncode}: {said[-300:]!r}")
    try:
        text = said.decode()
    except UnicodeDecodeError:
        return failures.append(f"{where} printed bytes that are not UTF-8: {said[:400]!r}")
    if bad := re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text):
        failures.append(f"{where} printed {bad[0]!r}: {said[:400]!r}")
    if len(said) > 4000:
        failures.append(f"{where} printed {len(said)} bytes: {said[:200]!r}...")


def damaged(good):
    """Ways to damage a file: hostile bytes at its start, inside texts of its JSON, as a key, at its end, many of them."""
    yield evil + good
    yield good + evil
    yield evil * 5000
    yield b"{\"" + evil + b"\": 1}"
    yield b"{\"a\": \"" + evil + b"\"}"
    yield b"[" * 100000
    for at in [match.end() for match in re.finditer(rb'"', good)][:40:3]:
        yield good[:at] + evil + good[at:]
    escaped = b"\\u001b[2J\\u0007\\u009b31m\\u007f" * 50  # the same, as valid JSON
    for at in [match.start() for match in re.finditer(rb'"[,:\n}]', good)][:40:3]:
        yield good[:at] + escaped + good[at:]


def each(path, commands, good=None):
    good = pathlib.Path(path).read_bytes()
    for bytes_ in damaged(good):
        pathlib.Path(path).write_bytes(bytes_)
        for command in commands:
            check(path, *command)
    pathlib.Path(path).write_bytes(good)


each("config.json", [["config", "config.json"], ["plan", "config.json"]])
newest = "run/checkpoints/step_00000002"
shutil.copytree(newest, "copied")  # a checkpoint by itself: there is none before it to fall back to
for name in ("manifest.json", "trainer.json", "config.json"):
    each(f"copied/{name}", [["eval", "copied", "--data", "corpus"], ["export", "copied", "--out", "exported"]])
for name in ("manifest.json", "trainer.json"):
    each(f"{newest}/{name}", [["eval", "run", "--data", "corpus"]])
each("corpus/data.json", [["train", "config.json", "--out", "other"]])

# safetensors: the header's length is that of the damaged header; without a manifest, as Hugging Face's folders are.
shutil.copytree("copied", "hf")
for name in ("manifest.json", "trainer.json", "optimizer.safetensors"):
    os.remove(f"hf/{name}")
weights = pathlib.Path("hf/model.safetensors").read_bytes()
length = int.from_bytes(weights[:8], "little")
for header in damaged(weights[8:8 + length]):
    pathlib.Path("hf/model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + weights[8 + length:])
    check("hf/model.safetensors", "train", "config.json", "--init", "hf", "--out", f"from_hf_{ran}")

# Tokenizers: the library that reads them has messages of its own.
model = pathlib.Path("corpus/tokenizer.model").read_bytes()
for at in range(0, len(model), max(1, len(model) // 40)):
    pathlib.Path("evil.model").write_bytes(model[:at] + evil + model[at + len(evil):])
    check("evil.model", "prepare", "text.txt", "--out", f"with_evil_{at}", "--tokenizer", "evil.model")

# Words of the command line, and names of files.
raw = evil.replace(b"\x00", b"")
for arguments in ([raw], ["train", raw], ["config", "config.json", "--set", raw], ["config", "config.json", "--set", b"train.steps=" + raw],
                  ["plan", raw + b".json"], ["eval", raw], ["report", raw], ["train", "config.json", b"--" + raw],
                  ["generate", "run", "--prompt", raw, "--tokens", "1"]):
    check("command line", *arguments)

# A run's log holds what was said of its damaged checkpoint.
for log in pathlib.Path(".").glob("*/log.txt"):
    if bad := re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", log.read_bytes()):
        failures.append(f"{log} holds {bad[0]!r}")
if failures:
    sys.exit("\n".join(failures[:20]) + f"\n{len(failures)} of {ran} commands failed")
print(f"hostile bytes: {ran} commands, no byte that a terminal obeys")
E3
