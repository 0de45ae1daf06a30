"""How often the stated error of E(t) holds, on problems that nobody has tuned on.

`python tests/benchmarks/coverage.py RESULTS.jsonl [--seed 1] [--problems 100] [--first 0] [--only inf] [--limit 60]` draws
problems from a seed, solves each at an accuracy and at a hundredth of it (at a tenth, where that takes too long), and appends one
line a problem to the file; those that are there are not solved again.  `--report` prints what the file says, `--show NUMBER` a
configuration.

A record is covered if |E - E_fine| <= estimate + estimate of the finer run, whose panels, K and steps are others.  Where the
finer estimate is more than half of the rough one, the record says nothing and is not counted.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mfpde  # (first: one thread for linear algebra, or CPU seconds mean nothing)

# isort: split
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from drawn import Draw

# Of the rough run, by p at finite d and elsewhere; the finer one is asked for so many times less.
ACCURACY, ACCURACY_3, FINER = 1e-4, 1e-3, (100, 10)
# Differences that rounding makes, in units of E h*^2 / 2; and the part of the rough estimate that the finer one may be.
ROUNDING, KNOWN = 1e-11, 0.5


def run_one(config: dict[str, Any], accuracy: float) -> dict[str, Any]:
    """What one run says, in this process."""
    began = time.process_time()
    result = mfpde.run(config, accuracy=accuracy, progress=False)
    assert result.error is not None and result.summary is not None and result.summary.answer is not None
    last = result.summary.answer.passes[-1]
    found = result.summary.answer.estimate
    return {
        "time": result.time.tolist(),
        "loss": result.loss.tolist(),
        "error": result.error.tolist(),
        "unit": found.unit,
        "reached": found.reached,
        "resolution": str(last.resolution),
        "parts": {name: float(f"{values.max() / found.unit:.1e}") for name, values in found.parts.items()},
        "seconds": round(time.process_time() - began, 2),
    }


def apart(config: dict[str, Any], accuracy: float, limit: float) -> dict[str, Any]:
    """The same in a process of its own, of `limit` CPU seconds; {"ended": reason} if it comes to no result."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (round(limit), round(limit) + 5))

    words = [sys.executable, __file__, "--solve", repr(accuracy)]
    try:
        done = subprocess.run(
            words, input=json.dumps(config), capture_output=True, text=True, timeout=10 * limit, preexec_fn=limited, check=False
        )
    except subprocess.TimeoutExpired:
        return {"ended": "time"}
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    reason = done.stderr.strip().splitlines()[-1:] or [""]
    return {"ended": "time" if done.returncode in (-24, -9) else f"status {done.returncode}: {reason[0][:300]}"}


def measure(seed: int, number: int, limit: float) -> dict[str, Any]:
    """The line of one problem."""
    draw = Draw(seed, number)
    config = draw.config()
    accuracy = ACCURACY_3 if draw.p == 3 and np.isfinite(draw.d) else ACCURACY
    line: dict[str, Any] = {"seed": seed, "number": number, "accuracy": accuracy, "config": config}
    rough = apart(config, accuracy, limit)
    if "ended" in rough:
        return line | {"ended": f"rough: {rough['ended']}"}
    line |= {key: rough[key] for key in ("reached", "resolution", "parts", "seconds")}
    fine: dict[str, Any] = {}
    for finer in FINER:
        fine = apart(config, accuracy / finer, limit)
        if "ended" not in fine:
            break
    if "ended" in fine:
        return line | {"ended": f"fine: {fine['ended']}"}
    line["fine"] = {key: fine[key] for key in ("reached", "resolution", "parts", "seconds")}
    E, E_fine, stated, known = (np.array(x) for x in (rough["loss"], fine["loss"], rough["error"], fine["error"]))
    error, slack = np.abs(E - E_fine), known + ROUNDING * rough["unit"]
    tells = (slack <= KNOWN * stated) | (error > stated + slack)
    missed = tells & (error > stated + slack)
    line |= {"records": len(E), "told": int(tells.sum()), "missed": int(missed.sum())}
    if tells.any():
        share = np.where(tells, error / np.maximum(stated + slack, 1e-300), 0.0)
        worst = int(share.argmax())
        line |= {
            "worst": round(float(share[worst]), 3),
            "at": [rough["time"][worst], float(E[worst]), float(stated[worst]), float(E_fine[worst]), float(known[worst])],
            # Of the run: the largest estimate over the largest error that the finer run can tell from 0.
            "ratio": float(stated[tells].max() / max(error[tells].max(), slack[tells].max())),
        }
    return line


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; none if there is none."""
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def report(lines: list[dict[str, Any]]) -> str:
    """What the lines say."""
    known = [line for line in lines if line.get("told")]
    told, missed = (sum(line[key] for line in known) for key in ("told", "missed"))
    ended = [line for line in lines if "ended" in line]
    text = [f"#{x['number']}: {x['ended']}" for x in ended]
    for x in (x for x in known if x["missed"]):
        t, E, stated, fine, error = x["at"]
        text += [
            f"#{x['number']} missed {x['missed']} of {x['told']} records, {x['worst']} times at t = {t:g}: E = {E:.9g} +- "
            f"{stated:.1e}, finer {fine:.9g} +- {error:.1e}, {x['resolution']}; finer {x['fine']['resolution']}; {x['config']}"
        ]
    if not known:
        return "\n".join([*text, f"{len(lines)} problems, none of which says anything"])
    ratios, seconds = ([line[key] for line in known] for key in ("ratio", "seconds"))
    whole = sum(not line["missed"] for line in known)
    kept = sum(line["reached"] <= line["accuracy"] for line in known)
    text += [
        f"{len(lines)} problems of seed {sorted({line['seed'] for line in lines})}, {len(known)} with a finer run, "
        f"{len(ended)} ended, {len(lines) - len(known) - len(ended)} whose finer run is no finer",
        f"covered: {told - missed} of {told} records ({1 - missed / told:.2%}), {whole} of {len(known)} problems at every record",
        f"estimate / error: {np.median(ratios):.1f} in the median, {np.quantile(ratios, 0.9):.0f} in nine of ten; "
        f"accuracy reached in {kept}; CPU {np.median(seconds):.1f} s in the median, {max(seconds):.0f} s at most",
    ]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", help="one JSON line a problem")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first problem")
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--only", choices=("inf", "finite"), help="problems at d = inf, or at finite d")
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds of a run")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--show", type=int, metavar="NUMBER")
    parser.add_argument("--solve", type=float, metavar="ACCURACY", help="the configuration on standard input")
    given = parser.parse_args()
    if given.solve is not None:
        print(json.dumps(run_one(json.load(sys.stdin), given.solve)))
        return
    if given.show is not None:
        print(json.dumps(Draw(given.seed, given.show).config(), indent=1))
        return
    if given.file is None:
        parser.error("FILE: allowed: a name for the results")
    done = {line["number"] for line in read(given.file) if line["seed"] == given.seed}
    for number in range(given.first, given.first + given.problems):
        kind = "inf" if np.isinf(Draw(given.seed, number).d) else "finite"
        if number not in done and not given.report and given.only in (None, kind):
            line = measure(given.seed, number, given.limit)
            with given.file.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(number, line.get("ended", f"worst {line.get('worst')}"), flush=True)
    print(report(read(given.file)))


if __name__ == "__main__":
    main()
