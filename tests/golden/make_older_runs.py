#!/usr/bin/env python3
"""Makes tests/golden/older_runs: small runs of an older program, stopped half-way, which today's program must go on with.

    tests/golden/make_older_runs.py PROGRAM        made with the program of commit 9837240

    tokens.bin                 what they are trained on (llm.c's format)
    NAME/config.json           the run's folder as it was at step 10 of 20: the effective config, the checkpoint, the metrics
    NAME/checkpoints/...
    NAME.losses.json           the losses of steps 11 to 20 of the undisturbed run

    eco_fp8         llama with grouped heads, FP8 weights without master, ECO, stochastic rounding; no weight decay: a later
                    program's arithmetic of decay is another, and these losses must come out as they are
    qwen3_4bit      qwen3, INT8 weights, moments of 4 bits, two micro-batches, weight decay

With BITTERN_ISA=portable, so that every machine makes the same.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

here = Path(__file__).resolve().parent
vocabulary = 64

common = {
    "run": {"seed": 5, "threads": 1},
    "model": {"vocab_size": vocabulary, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "intermediate_size": 40, "max_position_embeddings": 64},
    "data": {"path": "tokens.bin", "sequence_length": 24},
    "train": {"steps": 20, "batch_sequences": 4, "micro_batch_sequences": 2, "evaluate_every": 0, "checkpoint_every": 10, "keep_checkpoints": 0},
    "schedule": {"shape": "constant", "lr": 1e-2, "warmup_steps": 5},
}
runs = {
    "eco_fp8": {
        "optimizer": {"weight_decay": 0},
        "weights": {"block_linear": {"codec": "fp8_e4m3", "rounding": "stochastic", "error_feedback": "eco"}},
    },
    "qwen3_4bit": {
        "model": {"architecture": "qwen3", "head_dim": 8},
        "optimizer": {"weight_decay": 0.1, "states": {"m": "de4", "v": "rank1_linear4", "min_elements": 256}},
        "weights": {"block_linear": {"codec": "int", "bits": 8, "rounding": "stochastic"}},
    },
}


def write_tokens(file: Path):
    """Three times in four a token follows from the one before it, else from a linear congruential generator."""
    tokens, state = [1], 1
    while len(tokens) < 4000:
        state = (1664525 * state + 1013904223) % 2**32
        tokens.append((tokens[-1] + 1 if state >> 30 else state >> 8) % vocabulary)
    header = [20240520, 1, len(tokens)] + [0] * 253
    file.write_bytes(struct.pack("<256i", *header) + struct.pack(f"<{len(tokens)}H", *tokens))


def merged(base: dict, over: dict) -> dict:
    return {key: merged(base[key], over[key]) if isinstance(base.get(key), dict) and key in over else over.get(key, base.get(key))
            for key in base | over}


def main():
    program, target = str(Path(sys.argv[1]).resolve()), here / "older_runs"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    write_tokens(target / "tokens.bin")
    for name, special in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(target / "tokens.bin", folder)
            (Path(folder) / "config.json").write_text(json.dumps(merged(common, {**special, "run": {"name": name}})))
            subprocess.run([program, "train", "config.json", "--out", "run"], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                           env={**os.environ, "BITTERN_ISA": "portable"})
            run, kept = Path(folder) / "run", target / name
            shutil.copytree(run / "checkpoints/step_00000010", kept / "checkpoints/step_00000010")
            shutil.copy(run / "config.json", kept)
            lines = (run / "metrics.jsonl").read_text().splitlines()
            (kept / "metrics.jsonl").write_text("".join(line + "\n" for line in lines if json.loads(line)["step"] <= 10))
            losses = [line["loss"] for line in map(json.loads, lines) if line["step"] > 10 and "loss" in line]
            (target / f"{name}.losses.json").write_text(json.dumps(losses, indent=1) + "\n")


if __name__ == "__main__":
    main()
