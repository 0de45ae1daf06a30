"""The error of E(t), what the run says of it, and what it costs, on all problems of tests/references.json.

`python tests/benchmarks/accuracy.py [--accuracy 1e-4] [WORD ...]` runs the problems in whose name all words are, one line each:
the largest error at the reference's times and the largest estimate there, in units of E; a quarter of an hour for all of them.
The references are those of an independent program, each with an uncertainty; an error below it says nothing.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI

import mfpde
from mfpde.digits import credible

REFERENCES = Path(__file__).parents[1] / "references.json"
KEYS = {"target.polynomial": "polynomial", "network.activation": "activation", "input.dimension": "dimension", "initial.a": "a"}
KEYS |= {"training.xi_a": "xi_a", "training.xi_w": "xi_w"}


def name(reference: dict[str, Any]) -> str:
    return ", ".join([*(str(reference[key]) for key in KEYS.values()), f"T = {reference['times'][-1]:g}"])


def measure(reference: dict[str, Any], accuracy: float) -> tuple[np.ndarray, np.ndarray, float, str]:
    """Errors and estimates at the reference's times, CPU seconds, and E at the last of them with its error."""
    last = reference["times"][-1]
    times = sorted({*np.linspace(0.0, last, 33).tolist(), *reference["times"]})
    words = [f"{key}={reference[of]}" for key, of in KEYS.items()]
    words += [f"training.final_time={last}", f"discretization.accuracy={accuracy}", f"output.times={times}"]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "run.h5"
        config = mfpde.load(None, [*words, "output.snapshots=0", f"output.file={path}"])
        problem = mfpde.build_problem(config)
        begin = time.process_time()
        mfpde.solve(MPI.COMM_SELF, config, problem)
        seconds = time.process_time() - begin
        with h5py.File(path) as file:
            at = np.searchsorted(file["history/time"][:], np.array(reference["times"]) - 1e-9)
            loss, estimate = file["history/loss"][:][at], file["error/estimate"][:][at]
    return np.abs(loss - reference["loss"]), estimate, seconds, credible(loss[-1], estimate[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accuracy", type=float, default=1e-4)
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    ratios, below = [], 0
    for reference in json.loads(REFERENCES.read_text()):
        if all(word in name(reference) for word in given.words):
            errors, estimates, seconds, shown = measure(reference, given.accuracy)
            error, estimate = errors.max(), estimates.max()
            ratios.append(estimate / max(error, reference["uncertainty"]))
            below += (errors <= estimates + reference["uncertainty"]).all()
            digits = f"E = {shown:<16} error {error:.1e} (known to {reference['uncertainty']:.0e})  estimate {estimate:.1e}"
            print(f"{name(reference):<78} {digits}  {seconds:6.1f} s", flush=True)
    print(f"{below} of {len(ratios)} errors below their estimates; estimate / error: median {np.median(ratios):.1f}, ", end="")
    print(f"nine of ten below {np.quantile(ratios, 0.9):.0f}")


if __name__ == "__main__":
    main()
