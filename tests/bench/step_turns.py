#!/usr/bin/env python3
"""The training steps of two configs, or of two programs, beside each other on a machine that is not quiet: their processes
run in turns of a second or two.

    python tests/bench/step_turns.py BITTERN DATA A.json B.json [--other OTHER] [--seconds 120] [--turn 1] [KEY=VALUE...]

BITTERN trains A and B; with --other, the program OTHER trains B.

While one of the two trains, the other is stopped (SIGSTOP), so what else happens on the machine, which moves whole runs by half,
meets both alike. KEY=VALUE is set in both. After a warm-up of three steps each, counts the steps that each made and the time that
it was let run for them, from the end of one step to the end of another, and prints tokens/s and how much longer B's step takes.
No checkpoints, samples or validation.
"""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time


class Trainer:
    def __init__(self, program, config, folder, settings):
        command = [program, "train", config, "--out", str(folder)]
        fixed = ["train.steps=1000000", "train.evaluate_every=0", "train.checkpoint_every=0", "train.sample_every=0"]
        for setting in settings + fixed:
            command += ["--set", setting]
        self.metrics = folder / "metrics.jsonl"
        self.output = open(folder.with_suffix(".txt"), "w")
        self.process = subprocess.Popen(command, stdout=self.output, stderr=subprocess.STDOUT)
        self.seconds = 0.0
        self.counted = 0  # steps that have ended
        self.ends = []  # of those that ended in its turns: (its seconds until then, steps, tokens)

    def steps(self):
        """The steps finished, and the tokens of them all."""
        try:
            lines = [line for line in self.metrics.read_text().splitlines(keepends=True) if line.endswith("\n") and '"step_ms"' in line]
        except OSError:
            return 0, 0
        return (0, 0) if not lines else (len(lines), json.loads(lines[-1])["tokens"])

    def alive(self):
        if self.process.poll() is not None:
            raise SystemExit(f"step_turns: the run ended: {pathlib.Path(self.output.name).read_text()[-500:]}")

    def turn(self, seconds):
        self.alive()
        start = time.monotonic()
        os.kill(self.process.pid, signal.SIGCONT)
        while (run := time.monotonic() - start) < seconds:
            time.sleep(min(0.05, seconds - run))
            steps, tokens = self.steps()
            if steps > self.counted:
                self.counted = steps
                self.ends.append((self.seconds + time.monotonic() - start, steps, tokens))
        os.kill(self.process.pid, signal.SIGSTOP)
        self.seconds += time.monotonic() - start

    def rate(self):
        """Steps, seconds and tokens/s between the first end and the last."""
        if len(self.ends) < 2:
            raise SystemExit("step_turns: fewer than two steps ended; give it more --seconds")
        first, last = self.ends[0], self.ends[-1]
        return last[1] - first[1], last[0] - first[0], (last[2] - first[2]) / (last[0] - first[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bittern")
    parser.add_argument("data")
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--other", metavar="OTHER", help="the program that trains B [BITTERN]")
    parser.add_argument("--seconds", type=float, default=120, help="for each of the two [120]")
    parser.add_argument("--turn", type=float, default=1.0, help="seconds [1]")
    given = parser.parse_args()
    settings = [f"data.path={given.data}"] + given.settings
    with tempfile.TemporaryDirectory() as folder:
        trainers = []
        try:
            for name, program, config in (("a", given.bittern, given.a), ("b", given.other or given.bittern, given.b)):
                trainers.append(Trainer(program, config, pathlib.Path(folder) / name, settings))
                while trainers[-1].steps()[0] < 3:  # warm, alone
                    trainers[-1].alive()
                    time.sleep(0.05)
                os.kill(trainers[-1].process.pid, signal.SIGSTOP)
                trainers[-1].counted = trainers[-1].steps()[0]
            while trainers[0].seconds < given.seconds:
                for trainer in trainers if int(trainers[0].seconds / given.turn) % 2 == 0 else trainers[::-1]:
                    trainer.turn(given.turn)
            rates = []
            for name, trainer, config in zip("AB", trainers, (given.a, given.b)):
                steps, seconds, rate = trainer.rate()
                rates.append(rate)
                print(f"{name}, {config}: {steps} steps in {seconds:.1f} s, {rate:,.0f} tokens/s")
            print(f"a step of the second takes {rates[0] / rates[1]:.3f} times as long")
        finally:
            for trainer in trainers:
                trainer.process.kill()
                trainer.process.wait()


if __name__ == "__main__":
    main()
