"""What a certified answer costs: the run's own choice, panels, a net, and what a user would write himself, in one run.

`python tests/benchmarks/price.py [--accuracy 1e-4] [WORD ...]` prints for the problems in whose name all words are the CPU
seconds after start-up (a small run comes first) and the accuracy that is stated, each in a process of its own.  The last two
columns are by hand: 16 groups of random particles, and of Sobol' points, at K = 6, whose mean is certified by Student's t (99%)
over the groups, and no truncation is; where that takes more particles than `MOST`, its cost is carried on from there at the
measured rate, marked "~".
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from mpi4py import MPI

import mfpde

PROBLEMS = {
    "d = 3": {"dimension": 3},
    "d = 5": {"dimension": 5},
    "d = 10": {"dimension": 10},
    "d = 30": {"dimension": 30},
    "d = 100": {"dimension": 100},
    "d = 10^4": {"dimension": 10**4},
    "d = inf": {"dimension": "inf"},
    "p = 1, d = 3": {"dimension": 3, "polynomial": "z1 + z1**2/2"},
    "p = 1, d = 10": {"dimension": 10, "polynomial": "z1 + z1**2/2"},
    "p = 1, d = 10^4": {"dimension": 10**4, "polynomial": "z1 + z1**2/2"},
    "relu, d = 10": {"dimension": 10, "activation": "relu"},
    "relu, d = 10^4": {"dimension": 10**4, "activation": "relu"},
    "p = 3, d = 10": {"dimension": 10, "polynomial": "z1 + z1*z2 + z1*z2*z3"},
    "p = 3, d = 100": {"dimension": 100, "polynomial": "z1 + z1*z2 + z1*z2*z3"},
}
LIMIT, GROUPS, START, MOST = 120, 16, 256, 2**15


@dataclass(frozen=True)
class Cost:
    """CPU seconds, the accuracy that was stated, and what else there is to say."""

    seconds: float
    stated: float
    note: str = ""

    def __str__(self) -> str:
        return f"{self.note}{self.seconds:7.2f} s  {self.stated:.1e}"


def run(keys: dict[str, Any], accuracy: float, nodes: str) -> Cost:
    """A run of mfpde's, in this process."""
    begin = time.process_time()
    found = mfpde.run(comm=MPI.COMM_SELF, progress=False, nodes=nodes, accuracy=accuracy, snapshots=0, **keys)
    seconds = time.process_time() - begin
    assert found.summary is not None and found.summary.answer is not None
    return Cost(seconds, found.summary.answer.estimate.reached, "net " if found.attributes["discretisation"] == "net" else "")


def by_hand(keys: dict[str, Any], accuracy: float, sampling: str) -> Cost:
    """Groups of particles until their mean is certain enough: the truncation is not certified, which flatters them."""
    from scipy.stats import t

    spent, costs, errors = 0.0, [], []
    count, factor = START, float(t.ppf(0.995, GROUPS - 1)) / np.sqrt(GROUPS)
    while True:
        begin, losses = time.process_time(), []
        for group in range(GROUPS):
            losses.append(particles(keys, count, sampling, group))
        costs.append(time.process_time() - begin)
        spent += costs[-1]
        unit = float(losses[0][0])
        errors.append(factor * float(np.std(losses, axis=0, ddof=1).max()) / unit)
        if errors[-1] <= accuracy:
            return Cost(spent, errors[-1])
        if count >= MOST:
            rate = 0.5 if sampling == "random" else max(0.5, log(errors[0] / errors[-1]) / log(count / START))
            return Cost(spent + costs[-1] * (errors[-1] / accuracy) ** (1 / rate), accuracy, "~")
        count *= 4


def particles(keys: dict[str, Any], count: int, sampling: str, group: int) -> np.ndarray:
    """E of one group at the records."""
    from mfpde.discretisations import build_problem
    from mfpde.features.bases import basis_of
    from mfpde.particles.methods import METHODS
    from mfpde.problem.config import config_of
    from mfpde.problem.keywords import sections_of

    own = {"particles": {"particles": count, "sampling": sampling, "seed": group}, "tolerance": 1e-6, "times": 41}
    data, _ = sections_of(None, {**keys, **own})
    config = config_of(data)
    problem = build_problem(config)
    losses: list[float] = []
    METHODS["reduced"](MPI.COMM_SELF, config, problem, basis_of(problem, problem.numbers(config.discretization)))(
        0, lambda when, loss, *rest: losses.append(loss)
    )
    return np.array(losses)


WAYS = {
    "auto": lambda keys, accuracy: run(keys, accuracy, "auto"),
    "panels": lambda keys, accuracy: run(keys, accuracy, "panels"),
    "net": lambda keys, accuracy: run(keys, accuracy, "net"),
    "random": lambda keys, accuracy: by_hand(keys, accuracy, "random"),
    "sobol": lambda keys, accuracy: by_hand(keys, accuracy, "sobol"),
}


def measured(name: str, way: str, accuracy: float) -> str:
    """One cell of the table, by a process of its own."""
    command = [sys.executable, __file__, "--accuracy", str(accuracy), "--cell", json.dumps([name, way])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=4 * LIMIT, check=True)
    except subprocess.TimeoutExpired:
        return f"> {LIMIT} s"
    except subprocess.CalledProcessError as error:
        return str(error.stderr.strip().splitlines()[-1][:24])
    return done.stdout.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accuracy", type=float, default=1e-4)
    parser.add_argument("--cell", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    if given.cell:
        name, way = given.cell
        mfpde.run(comm=MPI.COMM_SELF, progress=False, dimension=20, accuracy=1e-2, final_time=0.1, times=2)
        print(WAYS[way](PROBLEMS[name], given.accuracy))
        return
    print(f"{'':<18}" + "".join(f"{way:<26}" for way in WAYS))
    for name in PROBLEMS:
        if all(word in name for word in given.words):
            print(f"{name:<18}", end="", flush=True)
            for way in WAYS:
                print(f"{measured(name, way, given.accuracy):<26}", end="", flush=True)
            print()


if __name__ == "__main__":
    main()
