# The error budget: each source of error is varied alone, and its order measured (a table, and error_budget.png).
# Run as `python examples/error_budget.py`; results are kept in error_budget/, so that a second run only draws.
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mfpde.converge.picture import draw_study
from mfpde.converge.study import VARIED, fit

HERE = Path(__file__).parent
EXACT = "--reference characteristics"
LABELS = "--set discretization.a_nodes=20 --set discretization.r_nodes=4"
STUDIES = {
    "cells, Q1": f"--vary cells --values 12 16 24 32 48 {EXACT} --set discretization.degree=1",
    "cells, Q2": f"--vary cells --values 12 16 24 32 48 {EXACT} --set discretization.degree=2",
    "cells, Q3": f"--vary cells --values 6 8 12 16 24 {EXACT}",
    "degree": f"--vary degree --values 1 2 3 4 {EXACT} --set discretization.cells=12",
    "half width": f"--vary half_width --values 5 6 7 8 9 10 {EXACT} --set discretization.cells=64",
    "time step's tolerance, d = inf": f"--vary tolerance --values 1e-3 1e-4 1e-5 1e-6 1e-7 1e-8 {EXACT} "
    "--set input.dimension=inf --set training.final_time=8.0 --set output.times=2",
    "labels of a": "--vary a_nodes --values 2 4 6 8 10 12 20",
    "labels of r": "--vary r_nodes --values 1 2 3 4 6",
    "Hermite degree K": "--vary hermite_degree --values 2 4 6 8 10 12 20",
    "dimension, to d = inf": "--vary dimension --values 100 1000 10000 100000 inf",
    "random particles": f"--vary particles --values 100 1000 10000 {EXACT} {LABELS} --set particles.repeats=24",
    "Sobol' particles": f"--vary particles --values 64 256 1024 4096 16384 {EXACT} {LABELS} --set particles.sampling=sobol "
    "--set particles.repeats=8",
    "finite network": f"--vary particles --values 16 64 256 {EXACT} {LABELS} --set particles.method=network "
    "--set particles.repeats=48 --set discretization.tolerance=1e-6",
    "step of SGD (bias)": "--vary step --values 0.4 0.2 0.1 0.05 --reference network --set particles.method=sgd "
    "--set discretization.hermite_degree=14 --set discretization.tolerance=1e-6",
}


def main(picture: Path) -> None:
    folder = Path("error_budget")
    folder.mkdir(exist_ok=True)
    figure = Figure(figsize=(15, 10), layout="constrained", dpi=70)
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 5).ravel()
    for number, (title, options) in enumerate(STUDIES.items()):
        output = folder / f"{number:02d}_{shlex.split(options)[1]}.h5"
        words = [sys.executable, "-m", "mfpde.converge", str(HERE / "error_budget.toml"), *shlex.split(options)]
        print(f"\n{title}: python -m mfpde.converge examples/error_budget.toml {options}", flush=True)
        subprocess.run([*words, "--output", str(output)], check=True, stderr=subprocess.DEVNULL)
        with h5py.File(output) as file:
            values, errors, name = file["value"][:], file["error"][:], str(file.attrs["vary"])
        falling = VARIED[name].falling
        draw_study(axes[number], values, errors, fit(values, errors, falling), falling, name)
        axes[number].set_title(title, fontsize="medium")
    axes[-1].set_visible(False)
    figure.savefig(picture)
    print(f"\ndrawn to {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "error_budget.png"))
