#!/usr/bin/env bash
# Arrows between the rooms of src/ point one way (docs/architecture.md): no file includes a header of a room above its own.
set -euo pipefail
python3 - "$SOURCE" <<'E2'
import re
import sys
from pathlib import Path

source = Path(sys.argv[1])
# What a room may include of others; all see themselves, base, and the element math (quant, headers alone).
below = {
    "base": "",
    "quant": "",
    "ops": "",
    "config": "ops",
    "optim": "ops config",
    "data": "",
    "model": "ops",
    "dist": "ops",
    "store": "ops config optim data model",
    "watch": "",
    "train": "ops config optim data model dist store watch",
    "app": "config data dist store watch train",
}
# Whose the headers of include/bittern are. What a step is made of (optim/) is the ops'.
public = {
    "base": "error file strict_json host_device role",
    "quant": "dtype tensor",
    "ops": "ops activation backend cuda_backend noted_call noting_backend ticket device_memory token_order step_record step_record_tensors step_decision plan poison profile normal parameter model_spec row_parts",
    "config": "config schedule moment_choice",
    "optim": "optimizer",
    "data": "prepare tokenizer token_file sampler",
    "model": "model layer_events",
    "dist": "communicator world failure",
    "store": "checkpoint safetensors hf_import",
    "watch": "metrics progress report",
    "train": "trainer",
}
owner = {f"bittern/{name}.h": room for room, names in public.items() for name in names.split()}
folders = {"bittern/quant": "quant", "bittern/optim": "ops"}
rooms = {path.name for path in (source / "src").iterdir()}
assert rooms | {"quant"} == set(below), f"rooms without an arrow: {rooms ^ set(below)}"


def room_of(header):
    return owner.get(header) or folders.get(header.rsplit("/", 1)[0])


wrong, seen = [], 0
for path in sorted((source / "src").rglob("*")) + sorted((source / "include").rglob("*.h")):
    if path.suffix not in (".h", ".cpp"):
        continue
    relative = path.relative_to(source).as_posix()
    header = relative.removeprefix("include/")
    if relative.startswith("include/"):
        room = room_of(header)
        if room is None:
            wrong.append(f"{relative}: a header of no room; name its room in this test")
            continue
    else:
        room = relative.split("/")[1]
    allowed = {"base", "quant", room, *below[room].split()} - ({"quant"} if room == "base" else set())
    for included in re.findall(r'^#include "([^"]+)"', path.read_text(), re.M):
        seen += 1
        folder = included.split("/")[0]
        of = room_of(included) or (folder if folder in rooms else room)  # or beside the file
        if of not in allowed:
            wrong.append(f"{relative} ({room}) includes {included} ({of})")
        if included.startswith("ops/cpu/") and not relative.startswith("src/ops/"):
            wrong.append(f"{relative} includes {included}: only the op list is for other rooms")
print("\n".join(wrong) or f"rooms: {seen} includes, none upwards")
sys.exit(bool(wrong))
E2
