#!/usr/bin/env python3
"""The whole training step of bittern beside PyTorch's, in turns, on one machine.

    python tests/bench/step_bench.py BITTERN DATA [--torch PYTHON] [--size 5m|30m|all] [--rounds 2] [--seconds 10]

BITTERN: the program. DATA: a folder made by `bittern prepare`. PYTHON: an interpreter that has PyTorch. A round runs bittern
in bf16 and f32, then every mode of tests/bench/torch_llama.py; a figure is the best round's median over steps. Prints a
table in Markdown.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def bittern(program, data, size, dtype, seconds):
    with tempfile.TemporaryDirectory() as folder:
        steps = max(8, int(seconds * {"5m": 6, "30m": 0.7}[size]))
        command = [program, "train", str(HERE.parent.parent / f"configs/base/llama_{size}.json"), "--out", folder + "/run"]
        for setting in (f"data.path={data}", f"precision.compute={dtype}", f"train.steps={steps}", "train.evaluate_every=0",
                        "train.checkpoint_every=0", "train.sample_every=0"):
            command += ["--set", setting]
        subprocess.run(command, check=True, capture_output=True)
        lines = [json.loads(line) for line in open(folder + "/run/metrics.jsonl")]
    return statistics.median([line["tokens_per_second"] for line in lines if "tokens_per_second" in line][3:])


def torch(python, size, mode, dtype, seconds):
    command = [python, str(HERE / "torch_llama.py"), "--size", size, "--mode", mode, "--dtype", dtype, "--seconds", str(seconds)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return next(json.loads(line)["tokens_per_second"] for line in output.splitlines() if line.startswith("{"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bittern")
    parser.add_argument("data")
    parser.add_argument("--torch", default="python3")
    parser.add_argument("--size", default="all")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    print("| size | system | mode | precision | tokens/s | bittern's best over it |\n|---|---|---|---|---|---|")
    for size in ("5m", "30m") if arguments.size == "all" else (arguments.size,):
        best = {}
        for _ in range(arguments.rounds):
            for dtype in ("bf16", "f32"):
                key = ("bittern", "", dtype)
                best[key] = max(best.get(key, 0), bittern(arguments.bittern, arguments.data, size, dtype, arguments.seconds))
                for mode in ("eager", "compile"):
                    key = ("PyTorch", mode, dtype)
                    best[key] = max(best.get(key, 0), torch(arguments.torch, size, mode, dtype, arguments.seconds))
        ours = max(value for key, value in best.items() if key[0] == "bittern")
        for (system, mode, dtype), value in sorted(best.items()):
            print(f"| {size} | {system} | {mode} | {dtype} | {value:,.0f} | {ours / value:.2f}x |", flush=True)


if __name__ == "__main__":
    main()
