#!/usr/bin/env bash
# The table of versions in docs/formats.md is what the sources say: each constant has a row with its number, and the prepared folder
# and the checkpoint that the program makes carry the numbers of the table.
set -euo pipefail
for i in $(seq 400); do echo "the heron waits for the small fish under reed $((i % 17))"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 >/dev/null 2>log.txt || { cat log.txt; exit 1; }
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 16},
 "model": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
 "weights": {"block_linear": {"codec": "int", "bits": 8}},
 "train": {"steps": 1, "batch_sequences": 1, "micro_batch_sequences": 1, "evaluate_every": 0}}
E2
"$BITTERN" train config.json --out run >/dev/null 2>log.txt || { cat log.txt; exit 1; }
python3 - "$SOURCE" <<'E2'
import json, pathlib, re, struct, sys

source = pathlib.Path(sys.argv[1])
page = (source / "docs/formats.md").read_text()
rows = re.findall(r"^\| (.+?) \| (\d+) \| ([\d, ]+?) \| `(src/\S+)`, `(\w+)` \|", page, re.M)
wrong, listed = [], set()
for what, written, read, file, constant in rows:
    found = re.search(rf"constexpr \S+ {constant} = (\d+)[,;]", (source / file).read_text())
    if not found or found[1] != written:
        wrong.append(f"docs/formats.md: {what} is written as version {written}, but {file} has {constant} = {found and found[1]}")
    if written not in read.split(", "):
        wrong.append(f"docs/formats.md: {what} is written as version {written}, which is not among those read: {read}")
    listed.add((file, constant))
for path in sorted((source / "src").rglob("*.cpp")) + sorted((source / "src").rglob("*.h")):
    for constant in re.findall(r"constexpr [\w:]+ (\w*version) = \d+[,;]", path.read_text()):
        if (str(path.relative_to(source)), constant) not in listed:
            wrong.append(f"docs/formats.md has no row for {constant} of {path.relative_to(source)}")

checkpoint = pathlib.Path("run/checkpoints/step_00000001")
load = lambda path: json.loads(pathlib.Path(path).read_text())
made = {"data.json": load("corpus/data.json")["version"],
        "a token shard": struct.unpack("<I", pathlib.Path("corpus/train_00000.bin").read_bytes()[8:12])[0],
        "manifest.json": load(checkpoint / "manifest.json")["version"],
        "trainer.json": load(checkpoint / "trainer.json")["version"],
        "quantization_config": load(checkpoint / "config.json")["quantization_config"]["version"]}
for name, version in made.items():
    row = [row for row in rows if row[0].strip("`").startswith(name)]
    if len(row) != 1 or int(row[0][1]) != version:
        wrong.append(f"docs/formats.md: {name} as the program writes it has version {version}; the table says {[r[1] for r in row]}")
print("\n".join(wrong) or f"formats: {len(rows)} rows, as written")
sys.exit(bool(wrong))
E2
