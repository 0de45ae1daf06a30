"""The answer with its error: estimates against references that were converged by another program.

`references.json` holds E(t) of the problem without any truncation: characteristics at graded Gauss panels with tables, time
integrator and Hermite modes of their own, in which labels, panels, degrees up to 48 and tolerances were raised until nothing
moved by more than `uncertainty`.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from support import command

from mfpde.accuracy.panels import refined, refined_cells, tails
from mfpde.accuracy.passes import Answer, Begun, Main, record_places, study_times, train_accurately
from mfpde.accuracy.studies import Level, choose
from mfpde.digits import credible, scientific
from mfpde.elements.resolution import Panels, equal_panels
from mfpde.elements.rules import gauss_rule
from mfpde.evolution.flow import Interpolant, StageFlow, Step, loss
from mfpde.problem.config import load
from mfpde.problem.laws import parse_law
from mfpde.problem.laws.normal import Normal
from mfpde.problem.problem import Problem, build_problem
from mfpde.problem.sections import Config

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF
REFERENCES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("references.json").read_text())


def is_quick(reference: dict[str, Any]) -> bool:
    """What a test can afford: not p = 2 at d = 10, nor t = 100."""
    d = reference["dimension"]
    return bool(reference["times"][-1] <= 8 and (d == "inf" or d >= 30 or "z2" not in reference["polynomial"]))


QUICK = list(filter(is_quick, REFERENCES))


class Kept:
    """A witness that keeps E of the modes of the run."""

    def __init__(self, main: Main) -> None:
        self.main = main
        self.losses: list[float] = []

    def enter(self, flow: StageFlow) -> None:
        pass

    def record(self, flow: StageFlow, step: Step, vector: np.ndarray) -> None:
        self.losses.append(float(loss(flow.moments(vector, step.time), flow.target)))

    def stepped(self, flow: StageFlow, step: Step, inside: Interpolant | None) -> None:
        pass


@dataclass(frozen=True)
class Run:
    """E at the record times, and the answer it belongs to."""

    times: list[float]
    loss: np.ndarray
    answer: Answer


def run(config: Config, problem: Problem, times: list[float], comm: MPI.Intracomm = SELF) -> Run:
    """Collective. A training to the configuration's accuracy."""
    kept: list[Kept] = []

    def begin(main: Main) -> Begun:
        kept.append(Kept(main))
        return Begun(kept[-1], kept[-1].losses)

    answer = train_accurately(comm, problem, config.discretization, times, begin)
    return Run(times, np.array(kept[-1].losses) + kept[-1].main.correction, answer)


def overrides(reference: dict[str, Any]) -> list[str]:
    return [
        f"target.polynomial={reference['polynomial']}",
        f"network.activation={reference['activation']}",
        f"input.dimension={reference['dimension']}",
        f"initial.a={reference['a']}",
        f"training.xi_a={reference['xi_a']}",
        f"training.xi_w={reference['xi_w']}",
        f"training.final_time={reference['times'][-1]}",
    ]


@cache
def solved(number: int, accuracy: float = 1e-4) -> tuple[np.ndarray, np.ndarray, float]:
    """True errors and estimates at a quick reference's times, and E h*^2 / 2."""
    reference = QUICK[number]
    config = load(None, [*overrides(reference), f"discretization.accuracy={accuracy}"])
    times = sorted({*np.linspace(0, reference["times"][-1], 33).tolist(), *reference["times"]})
    found = run(config, build_problem(config), times)
    at = [times.index(t) for t in reference["times"]]
    return np.abs(found.loss[at] - reference["loss"]), found.answer.estimate.total[at], found.answer.estimate.unit


@pytest.mark.parametrize("number", range(len(QUICK)))
def test_the_error_is_below_the_estimate_and_the_estimate_below_the_accuracy(number: int) -> None:
    errors, estimates, unit = solved(number)
    uncertainty = QUICK[number]["uncertainty"]
    assert (errors <= estimates + uncertainty).all(), (errors, estimates)
    assert estimates.max() <= 1e-4 * unit and errors.max() <= 1e-4 * unit


def test_estimates_are_not_a_hundred_times_too_large_in_nine_of_ten() -> None:
    assert len(QUICK) >= 30
    found = [(*solved(n)[:2], reference["uncertainty"]) for n, reference in enumerate(QUICK)]
    ratios = [max(estimates) / max(*errors, uncertainty) for errors, estimates, uncertainty in found]
    assert np.mean(np.array(ratios) <= 100) >= 0.9, ratios


def test_a_hundred_times_the_accuracy_is_reached_too() -> None:
    for number in [n for n, r in enumerate(QUICK) if r["uncertainty"] <= 2e-7][:4]:
        errors, estimates, unit = solved(number, 1e-6)
        assert (errors <= estimates + QUICK[number]["uncertainty"]).all() and estimates.max() <= 1e-6 * unit


def test_numbers_that_the_user_gives_are_kept_and_their_error_is_told() -> None:
    """Six labels of a are too few for z1 + z1^2/2: the estimate says so, and so does the truth."""
    reference = next(r for r in QUICK if r["polynomial"] == "z1+z1**2/2" and r["activation"] == "tanh(u+0.5)")
    given = ["discretization.a_nodes=6", "discretization.hermite_degree=8"]
    config = load(None, [*overrides(reference), *given])
    found = run(config, build_problem(config), [0.0, *reference["times"]])
    resolution = found.answer.passes[-1].resolution
    assert resolution.a.total == 6 and resolution.hermite_degree == 8
    errors, estimates = np.abs(found.loss[1:] - reference["loss"]), found.answer.estimate.total[1:]
    assert found.answer.estimate.reached > 1e-4 and found.answer.estimate.worst == "labels"
    assert (errors <= estimates).all() and errors.max() > 1e-4


@pytest.mark.mpi
def test_the_estimate_does_not_depend_on_the_ranks() -> None:
    config = load(None, ["input.dimension=100", "training.final_time=3.0"])
    problem, times = build_problem(config), np.linspace(0, 3, 7).tolist()
    alone, together = run(config, problem, times), run(config, problem, times, WORLD)
    assert np.abs(alone.loss - together.loss).max() < 1e-12
    assert np.abs(alone.answer.estimate.total - together.answer.estimate.total).max() < 1e-12


def test_solve_prints_the_digits_that_hold_and_writes_the_errors(tmp_path: Path) -> None:
    import h5py

    done = command("solve", "--set", "input.dimension=inf", "--output", "out.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    value = done.stdout.partition("->")[2].split()[0]
    digits, _, error = value.partition("(")
    assert abs(float(digits) - 0.4354774) <= int(error.rstrip(")")) * 10.0 ** -len(digits.partition(".")[2])
    with h5py.File(tmp_path / "out.h5") as file:
        parts = sum(file[f"error/{name}"][:] for name in ("labels", "mesh", "hermite", "radial", "time"))
        assert (file["error/estimate"][:] >= parts * (1 - 1e-12)).all() and file["error"].attrs["accuracy_reached"] <= 1e-4
        assert len(file["error/estimate"]) == len(file["history/loss"])


def test_without_an_accuracy_the_resolution_is_taken_as_it_is(tmp_path: Path) -> None:
    words = ["--set", "discretization.accuracy=false", "--set", "input.dimension=inf", "--output", "out.h5"]
    done = command("solve", *words, cwd=tmp_path)
    assert done.returncode == 0 and "not estimated" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "value,error,shown",
    [
        (0.435448, 1.6e-5, "0.435448(16)"),
        (0.435448, 2.3e-5, "0.43545(3)"),
        (0.435448, 9.7e-5, "0.43545(10)"),
        (12.3456, 0.5, "12.3(5)"),
        (0.5, 0.0, "0.5"),
        (123456.0, 2300.0, "123000(3000)"),
        (1.0, 1e-9, "1.0000000000(10)"),
    ],
)
def test_digits_that_an_error_leaves(value: float, error: float, shown: str) -> None:
    assert credible(value, error) == shown


def test_small_numbers_have_a_power_of_ten() -> None:
    assert scientific(2.9531e-10, 1.6e-13) == "2.9531(16)e-10" and scientific(1e-12, 3e-12) == "0(3e-12)"


def test_panels_are_refined_where_a_function_is_not_resolved() -> None:
    """A step at a = 0.05 lies in the second of two panels: that one gets more nodes, then parts, towards the step."""
    law, panels = parse_law("uniform(-1, 1)"), equal_panels(parse_law("uniform(-1, 1)"), 8, 2)
    for _ in range(6):
        rule = gauss_rule(law, panels.counts, panels.edges)
        panels = refined(panels, law, tails(rule, [np.tanh((rule.nodes - 0.05) / 0.01)[:, None]]))
    assert panels.edges[0] == 0.0 and panels.counts[0] == 4 and 0 < panels.edges[1] < 0.1
    smooth = Panels((), (3,))
    for wanted in ((), (), (), (-1.0, 0.0, 1.0)):
        rule = gauss_rule(Normal(0.0, 1.0), smooth.counts, smooth.edges)
        smooth = refined_cells(smooth, Normal(0.0, 1.0), tails(rule, [np.sin(rule.nodes)[:, None]]))
        assert smooth.edges == wanted


def test_a_study_recommends_the_coarsest_level_that_is_near_the_finest() -> None:
    losses = [1.0, 0.1, 0.01, 0.0011, 0.001]
    study = choose([Level(n, np.array([x])) for n, x in enumerate(losses)], 0.02)
    assert study.value == 2 and study.settled and abs(study.error[0] - 0.0091) < 1e-12
    assert not choose([Level(n, np.array([x])) for n, x in enumerate(losses)], 1e-6).settled


def test_records_are_found_among_those_of_the_studies() -> None:
    config = load(None, ["training.stages=[{duration=1.0, xi_w=1.0}, {duration=3.0, xi_a=1.0}]", "output.times=60"])
    stages, times = build_problem(config).stages, config.history_times
    few = study_times(times)
    places = record_places(stages, few, times)
    assert len(few) <= 41 and (np.diff(places) > 0).all() and places[0] == 0
