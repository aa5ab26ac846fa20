"""What a run was made with, noted when it starts and not when its table is made: date, commit, program, machine, text.

Beside the run's folder, not in it (a folder that holds anything before `bittern train` has begun there is no new run): SEED.starts.jsonl,
one JSON object for each start. A run of an older reproduce has no such file: all of it is unknown.
"""
import datetime
import hashlib
import json
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

here = Path(__file__).resolve().parent.parent
unknown = "unknown"


@cache
def machine() -> str:
    name = platform.machine()
    try:
        name = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {len(os.sched_getaffinity(0))} CPUs, {platform.system()} {platform.release()}"


@cache
def commit() -> str:
    """Of the checkout that this script belongs to."""
    try:
        done = subprocess.run(["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True)
    except OSError:  # no git
        return unknown
    return done.stdout.strip() or unknown


def sha256(files: list[Path]) -> str:
    """Of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@cache
def program(bittern: str) -> str:
    """A binary may be older than the checkout it lies in: this tells."""
    return f"SHA-256 {sha256([Path(bittern)])[:16]}"


def text_of(inputs: list[str]) -> str:
    """Size and checksum of files, and of the files of folders in the order in which `bittern prepare` reads them."""
    files = []
    for path in map(Path, inputs):
        inside = (file for file in path.rglob("*") if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts))
        files += sorted(inside, key=str) if path.is_dir() else [path]
    names = ", ".join(Path(path).name for path in inputs)
    return f"{names}: {sum(file.stat().st_size for file in files):,} bytes, SHA-256 {sha256(files)}"


def text_of_prepared(folder: Path) -> str:
    """Of a folder whose text is not at hand: its data.json has sizes, and checksums of all tokens."""
    try:
        sources = json.loads((folder / "data.json").read_text())["sources"]
        size = f"{sum(source['bytes'] for source in sources):,} bytes in {len(sources)} file{'s' * (len(sources) != 1)}"
    except (KeyError, TypeError, ValueError):
        size = "text of unknown size"
    return f"prepared before: {size}, SHA-256 of data.json {sha256([folder / 'data.json'])}"


def starts_file(run_folder: Path) -> Path:
    return run_folder.with_suffix(".starts.jsonl")


def note_start(run_folder: Path, bittern: str, text: str, init: str):
    start = {"date": str(datetime.date.today()), "commit": commit(), "program": program(bittern), "machine": machine(), "text": text}
    if init:
        start["init"] = init
    with open(starts_file(run_folder), "a") as out:
        out.write(json.dumps(start) + "\n")


def starts_of(run_folder: Path) -> list[dict]:
    """What was noted, oldest first; a line that a kill tore counts as nothing known."""
    starts = []
    try:
        lines = starts_file(run_folder).read_text().splitlines()
    except OSError:
        return [{}]
    for line in lines:
        try:
            starts.append(json.loads(line))
        except ValueError:
            starts.append({})
    return starts or [{}]


def lines(runs: list[Path]) -> list[str]:
    """Of each fact a line if all starts of all runs agree, else one for each value, with the runs that have it but for the most frequent."""
    starts = {run: starts_of(run) for run in runs}
    out = []
    for key in ("date", "commit", "program", "machine", "text", "init"):
        by_value: dict[str, list[str]] = {}
        for run, noted in starts.items():
            for value in dict.fromkeys(start.get(key, unknown) for start in noted):
                by_value.setdefault(value, []).append(f"{run.parent.name}/{run.name}")
        if key == "init" and list(by_value) == [unknown]:  # from random weights
            continue
        most = max(by_value, key=lambda value: len(by_value[value]))
        for i, value in enumerate(sorted(by_value, key=lambda value: value != most)):
            whose = "" if len(by_value) == 1 else " (most runs)" if value == most else f" ({', '.join(by_value[value])})"
            out.append(f"{key if i == 0 else '':<10}{value}{whose}")
    return out
