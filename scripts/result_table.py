"""Reads run folders and compares rows seed by seed: means, spreads, paired differences, and what follows for a claim."""
import json
import math
import statistics
import subprocess
from pathlib import Path

from svg_chart import Chart


def student_t(freedom: int) -> float:
    """The one-sided 95 % quantile of Student's t: few seeds must agree well before anything is said."""
    if freedom <= 9:
        return (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833)[freedom - 1]
    z = 1.6448536  # of the normal distribution; from here on its expansion in 1 / freedom is right to .0001 (Cornish and Fisher)
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))


def validation_losses(run: Path) -> dict[int, float]:
    """Step to loss. A run that went on after a stop may have written a step twice: the last counts."""
    losses = {}
    with open(run / "metrics.jsonl") as lines:
        for line in lines:
            if '"valid_loss"' in line:
                values = json.loads(line)
                losses[values["step"]] = values["valid_loss"]
    return losses


def final_loss(run: Path) -> float | None:
    """The validation loss after the last step; infinite where the run diverged: the numbers were lost on the way, or it ends a nat
    worse than guessing among all tokens alike. None if it has not finished."""
    if not (run / "heartbeat.json").exists():
        return None
    heartbeat = json.loads((run / "heartbeat.json").read_text())
    if heartbeat["status"] == "failed" and "not finite" in heartbeat["message"]:
        return math.inf
    if heartbeat["status"] != "finished":
        return None
    loss = next(reversed(validation_losses(run).values()), None)
    guessing = math.log(json.loads((run / "config.json").read_text())["model"]["vocab_size"])
    return math.inf if loss is None or loss > guessing + 1 else loss


def trained_seconds(run: Path) -> float:
    """The time of the training steps, without evaluations and saves: what the last line of a step or an evaluation says."""
    last = '{"seconds": 0}'
    with open(run / "metrics.jsonl") as lines:
        for line in lines:
            last = line if '"seconds"' in line else last
    return json.loads(last)["seconds"]


def mean(values: list[float]) -> float:
    return math.inf if any(math.isinf(v) for v in values) else statistics.fmean(values)


def spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan


def margin(values: list[float]) -> float:
    """How far the mean may be off: the one-sided 95 % bound of few values."""
    n = len(values)
    return student_t(n - 1) * spread(values) / math.sqrt(n) if n > 1 else math.nan


def verdict(values: list[float]) -> str:
    """What values, one per seed, say of the claim that their mean is below zero."""
    if not values or any(map(math.isnan, values)):
        return "not shown"
    if any(map(math.isinf, values)):
        return "holds" if all(v < 0 for v in values) else "does not hold" if all(v > 0 for v in values) else "not shown"
    if len(values) < 2:
        return "not shown (one seed)"
    if mean(values) + margin(values) < 0:
        return "holds"
    return "does not hold" if mean(values) - margin(values) > 0 else "not shown"


def number(value: float, sign: bool = False) -> str:
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "diverged"
    return f"{value:+.4f}" if sign else f"{value:.4f}"


def bytes_per_parameter(bittern: str, config: Path, settings: list[str]) -> tuple[float, float]:
    """Weight, master, moments and their scales per parameter of the whole model and of the blocks' linears, from `bittern plan`."""
    command = [bittern, "plan", str(config), "--json"]
    for setting in settings:
        command += ["--set", setting]
    plan = subprocess.run(command, capture_output=True, text=True)
    if not plan.stdout:  # where the run would not fit on this machine, its plan is printed all the same
        raise SystemExit(f"{' '.join(command)}\nended with {plan.returncode}: {plan.stderr.strip()}")
    roles = json.loads(plan.stdout)["roles"]
    def of(some: list) -> float:
        return sum(role["bytes"]["kept"] for role in some) / sum(role["parameters"] for role in some)
    return of(list(roles.values())), of([role for role in roles.values() if role["group"] == "block_linear"])


def markdown(paper, losses: dict[str, dict[int, float]], bytes_per_parameter: dict[str, tuple[float, float]]) -> str:
    """The table and the claims. losses: by row, then by seed; rows that did not run are not there."""
    base = losses.get(paper.baseline, {})
    head = ["row", "B/param", "of blocks", "validation loss", "spread", f"minus {paper.row(paper.baseline).label}", "seeds"]
    lines = [head + ([paper.paper_column] if paper.paper_column else [])]
    for row in paper.rows:
        if row.name not in losses:
            continue
        values = losses[row.name]
        differences = [values[seed] - base[seed] for seed in values if seed in base]
        difference = ""
        if differences and row.name != paper.baseline:
            off = margin(differences)
            difference = number(mean(differences), sign=True) + ("" if math.isnan(off) else f" ± {off:.4f}")
        cells = [row.label, *(f"{bytes:.2f}" for bytes in bytes_per_parameter[row.name]), number(mean(list(values.values()))),
                 number(spread(list(values.values()))), difference, str(len(values))]
        lines.append(cells + ([row.paper] if paper.paper_column else []))
    text = "| " + " | ".join(lines[0]) + " |\n|" + "---|" * len(lines[0]) + "\n"
    text += "".join("| " + " | ".join(cells) + " |\n" for cells in lines[1:])
    text += ("\n*spread*: standard deviation over seeds. *minus*: mean of the differences seed by seed, ± its one-sided 95 % bound "
             "(Student's t). *diverged*: not finite, or a nat worse than guessing among all tokens alike.\n")

    text += "\n| claim | margin, below zero where it holds | |\n|---|---|---|\n"
    for claim in paper.claims:
        values = []
        for seed in sorted(base):
            try:
                values.append(claim.below_zero({row: by_seed[seed] for row, by_seed in losses.items() if seed in by_seed}))
            except KeyError:  # a row that the claim speaks of did not run with this seed
                continue
        if not values:
            continue
        off = margin(values)
        shown = number(mean(values), sign=True) + ("" if math.isnan(off) else f" ± {off:.4f}")
        text += f"| {claim.text} | {shown} | {verdict(values)} |\n"
    return text


def curves(paper, runs: list) -> str:
    """An SVG of the validation losses, the mean of each row's finished runs: from the best to the largest of the second half, so that
    rows stand apart at the end, but at most a nat and a half. Rows that diverged do not count."""
    rows, ends = {}, {}
    for row in paper.rows:
        final = {run.folder: run.loss() for run in runs if run.row == row.name}
        seeds = [validation_losses(run) for run in final]
        if seeds:
            rows[row.label] = [(step, mean([seed[step] for seed in seeds])) for step in sorted(set.intersection(*map(set, seeds))) if step > 0]
            ends[row.label] = mean(list(final.values()))
    points = [point for label, curve in rows.items() for point in curve if math.isfinite(ends[label])]
    if not points:
        return ""
    least = min(loss for _, loss in points)
    last = max(step for step, _ in points)
    most = min(max(max(loss for step, loss in points if 2 * step >= last), least + 0.1), least + 1.5)
    first = min(step for step, loss in points if loss <= most)
    chart = Chart(x=(first if first < last else 0, last), y=(least - 0.03 * (most - least), most), x_label="step", y_label="validation loss",
                  legend_width=90 + 6 * max(map(len, rows)))
    for k, (label, curve) in enumerate(rows.items()):
        chart.curve([point for point in curve if math.isfinite(point[1])], k, label)
        chart.name(k, f"{label}  {number(ends[label])}")
    return chart.svg()
