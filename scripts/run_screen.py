"""Where a set of runs stands: rewritten in place on a terminal, a line per finished run elsewhere."""
import sys
import time


class Screen:
    def __init__(self, total: int):
        self.total, self.lines, self.live = total, 0, sys.stdout.isatty()
        self.begun, self.begun_done = time.time(), None

    def draw(self, done: float, running, steps: dict[int, int]):
        if not self.live:
            return
        self.begun_done = done if self.begun_done is None else self.begun_done
        spent, gained = time.time() - self.begun, done - self.begun_done
        left = f", {(self.total - done) * spent / gained / 60:.0f} min left" if gained > 0.05 and spent > 5 else ""
        text = [f"{done:.1f} of {self.total} runs{left}"]
        text += [f"  {run.row:<32} seed {run.seed}   step {run.step():>7,} of {steps[id(run)]:,}" for run in running]
        if self.lines:
            sys.stdout.write(f"\033[{self.lines}A\033[J")
        sys.stdout.write("\n".join(text) + "\n")
        sys.stdout.flush()
        self.lines = len(text)

    def say(self, line: str):
        if self.lines:
            sys.stdout.write(f"\033[{self.lines}A\033[J")
            self.lines = 0
        print(line, flush=True)
