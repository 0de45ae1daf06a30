"""How to extend: the code of examples/EXTEND.md itself, run the way the page says."""

import re
import sys
import tomllib
import zlib
from collections.abc import Iterator
from math import exp
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from support import AFFINE, coarse, command, packed, rates_of, read, run_here, states, two_passes

import mfpde
import mfpde.evolution.indicators as indicators_package
import mfpde.features.bases as bases_package
import mfpde.problem.laws as laws_package
import mfpde.problem.terms as terms_package
from mfpde import formats
from mfpde.discretisations import start_flow
from mfpde.errors import InputError
from mfpde.evolution.indicators import indicators
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.particles.network import NetworkFlow, initial_network
from mfpde.particles.sampling import random_particles, sobol_particles
from mfpde.particles.sgd import Sgd
from mfpde.problem.activation import NAMES, parse_activation
from mfpde.problem.laws import Law, parse_law
from mfpde.quadrature.rules import gauss_rule
from mfpde.solve import solve

PAGE = Path(__file__).parents[1] / "examples" / "EXTEND.md"
SELF = MPI.COMM_SELF


def blocks() -> dict[str, str]:
    """The page's pieces of code by their first line."""
    found = re.findall(r"^```python\n# ([^\n]*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(found)


def run(*names: str, **known: Any) -> dict[str, Any]:
    """The names that pieces of code define, one after another."""
    space = {"__name__": "extension", **known}
    for name in names:
        exec(compile(blocks()[name], name, "exec"), space)
    return space


def dropped(name: str, folder: Path) -> Path:
    """The module of the page, as a file in a folder of its own."""
    folder.mkdir(exist_ok=True)
    (folder / Path(name).name).write_text(blocks()[name])
    return folder


@pytest.fixture
def semicircle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Law]:
    """The law of the page with radius 1.5, found by its name."""
    folder = dropped("mfpde/problem/laws/semicircle.py", tmp_path)
    monkeypatch.setattr(laws_package, "__path__", [*laws_package.__path__])
    monkeypatch.chdir(folder.parent)
    run_page = blocks()["a folder of laws"].replace("my_laws", str(folder))
    exec(compile(run_page, "a folder of laws", "exec"), {})
    yield parse_law("semicircle(1.5)")


def test_a_law_of_the_page_has_the_gauss_rule_of_chebyshev_polynomials(semicircle: Law) -> None:
    """Second kind: nodes R cos(k pi / (n + 1)), weights 2 sin^2(k pi / (n + 1)) / (n + 1)."""
    for n in (1, 2, 5, 16, 32):
        angle = np.arange(n, 0, -1) * np.pi / (n + 1)
        rule = gauss_rule(semicircle, (n,))
        assert np.abs(rule.nodes - 1.5 * np.cos(angle)).max() < 1e-13
        assert np.abs(rule.weights - 2 / (n + 1) * np.sin(angle) ** 2).max() < 1e-13


def test_a_law_of_the_page_has_samples_and_a_density_that_fit(semicircle: Law) -> None:
    """E a^2 = R^2/4, E a^4 = R^4/8: Sobol' points to 1e-3, independent ones to five standard errors; dF = density."""
    _, problem = read("initial.a=semicircle(1.5)", "input.dimension=50")
    count = 2**14
    for draw, bound in ((sobol_particles, 1e-3), (random_particles, 5 / np.sqrt(count))):
        a = draw(problem, count, (0, 0), 0, count).a
        assert abs((a**2).mean() - 1.5**2 / 4) < bound and abs((a**4).mean() - 1.5**4 / 8) < 2 * bound
        assert np.abs(a).max() < 1.5 and abs(a.mean()) < bound
    u, h = np.linspace(0.05, 0.95, 19), 1e-5
    slope = (semicircle.quantile(u + h) - semicircle.quantile(u - h)) / (2 * h)
    assert np.abs(semicircle.density(semicircle.quantile(u)) * slope / (np.pi * 1.5**2 / 2) - 1).max() < 1e-7


def test_a_law_of_the_page_runs_and_is_drawn(semicircle: Law, tmp_path: Path) -> None:
    from mfpde.density.marginal import density
    from mfpde.density.picture import plot_density

    small = ["discretization.a_nodes=4", "discretization.r_nodes=1", "discretization.cells=6", "training.final_time=1.0"]
    config, problem = read(AFFINE, "initial.a=semicircle(1.5)", *small, f"output.file={tmp_path / 'out.h5'}")
    assert problem.a == semicircle
    summary = solve(SELF, config, problem)
    assert summary.loss < summary.first_loss
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.abs(file["slices/label_a"][:] - gauss_rule(semicircle, (4,)).nodes).max() < 1e-14
    found = density(tmp_path / "out.h5", ("v1", "v2"), bins=50)
    picture = plot_density(tmp_path / "out.h5", tmp_path / "out.png", [found])
    assert picture.stat().st_size > 0


def test_a_law_of_the_page_is_offered_and_checked(semicircle: Law) -> None:
    for text in ("semicircle(-1)", "semicircle", "semicircel(1)"):
        with pytest.raises(InputError, match=r"semicircle\(R\)") as error:
            parse_law(text)
        assert "\n" not in str(error.value)


def test_an_activation_of_the_page_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfpde.problem.activation.NAMES", dict(NAMES))
    run("a name for an activation")
    named, plain = parse_activation("silu"), parse_activation("u*sigmoid(u)")
    u = np.linspace(-4, 4, 33)
    assert np.abs(named(u) - u / (1 + np.exp(-u))).max() < 1e-14 and named.source == plain.source


@pytest.fixture
def shrinking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The term of the page, found by its name: strength 0.3 at rates xi_a = 2, xi_w = 1."""
    folder = dropped("mfpde/problem/terms/shrinking.py", tmp_path / "terms")
    monkeypatch.setattr(terms_package, "__path__", [*terms_package.__path__, str(folder)])
    return 'training.terms=["shrinking(0.3)"]'


# Neurons do not see one another, nor the target 0: a term alone moves them.
ALONE = ["target.polynomial=0*z1*z2", "training.interaction=false", "training.xi_a=2.0", "training.xi_w=1.0"]
SMALL = ["discretization.a_nodes=4", "discretization.r_nodes=2", "discretization.cells=4", "input.dimension=20"]


@pytest.mark.parametrize("frame", ["flow", "affine"])
def test_without_interaction_a_term_of_the_page_shrinks_all_weights_by_its_exact_factor(shrinking: str, frame: str) -> None:
    """exp(-xi lambda t), on a mesh and on elements that follow the flow; to the steps' 1e-10."""
    config, problem = read(*ALONE, *SMALL, shrinking, f"discretization.frame={frame}")
    flow = start_flow(SELF, problem, config.discretization)
    time, start, end = 1.7, packed(flow), states(flow, [1.7], 1e-10, method="petsc")[0]
    factor_a, factor_w = exp(-2 * 0.3 * time), exp(-0.3 * time)
    before, after = flow.nodes(start), flow.nodes(end)
    assert np.abs(after.a - factor_a * before.a).max() < 1e-8 and np.abs(before.a).max() > 0.5
    assert np.abs(after.v - factor_w * before.v).max() < 1e-8 and np.abs(after.r - factor_w * before.r).max() < 1e-8
    assert np.abs(after.weight - before.weight).max() < 1e-12


def test_a_network_obeys_a_term_of_the_page(shrinking: str) -> None:
    _, problem, features = coarse(*ALONE, "input.dimension=20", shrinking)
    flow = NetworkFlow(problem, features, *initial_network(problem, 30, (0, 0), 0, 30))
    start, end = packed(flow), states(flow, [1.7], 1e-10, method="petsc")[0]
    (a, w), (now_a, now_w) = flow.neurons(start), flow.neurons(end)
    assert np.abs(now_a - exp(-1.02) * a).max() < 1e-8 and np.abs(now_w - exp(-0.51) * w).max() < 1e-8


def test_a_term_of_the_page_adds_to_the_interaction(shrinking: str) -> None:
    """The rates with both are the sum of those of each."""
    rates = []
    for given in ([shrinking], [], [*ALONE, shrinking]):
        _, problem, features = coarse("input.dimension=20", "training.xi_a=2.0", "training.xi_w=1.0", *given)
        flow = LagrangianFlow(problem, features, random_particles(problem, 50, (0, 0), 0, 50))
        rates.append(rates_of(flow, packed(flow)))
    both, alone, term = rates
    assert np.abs(both - (alone + term)).max() < 1e-14 and np.abs(term).max() > 0.1


def test_sgd_takes_a_term_of_the_page_in_every_step(shrinking: str) -> None:
    """Without interaction a step multiplies by 1 - eta xi lambda."""
    _, problem, features = coarse(*ALONE, "input.dimension=8", shrinking)
    a, w = initial_network(problem, 20, (0, 0), 0, 20)
    training = Sgd(problem, features, a, w, 10, 0.1, (0, 0))
    training.run([0.5], lambda *row: None)
    assert np.abs(training.a - a * (1 - 0.06) ** 5).max() < 1e-14
    assert np.abs(training.w[:, : w.shape[1]] - w * (1 - 0.03) ** 5).max() < 1e-14


def test_the_density_of_a_run_knows_a_term_of_the_page(shrinking: str, tmp_path: Path) -> None:
    """Alone it shrinks U(-1, 1) to standard deviation exp(-0.6 t) / sqrt(3), and the entropy by the trace of its rates."""
    from mfpde.density.marginal import density

    config, problem = read(*ALONE, *SMALL, shrinking, "training.final_time=2.0", "output.times=3", f"output.file={tmp_path}/o.h5")
    solve(SELF, config, problem)
    for time in (1.3, 2.0):
        found = density(tmp_path / "o.h5", ("a",), time, bins=400)
        middle = (found.edges[0][1:] + found.edges[0][:-1]) / 2
        deviation = np.sqrt((found.mass * middle**2).sum())
        assert abs(deviation - exp(-0.6 * time) / np.sqrt(3)) < 2e-4 and found.error < 0.02
    with h5py.File(tmp_path / "o.h5") as file:  # of (a, v1, v2, r): xi_a + (p + 1) xi_w
        assert np.abs(file["history/entropy"][:] + 0.3 * (2 + 3) * file["history/time"][:]).max() < 1e-6
        second = file["history/regularised_loss"][:] - file["history/loss"][:]
        assert abs(second[-1] - 0.15 * (exp(-2.4) / 3 + exp(-1.2))) < 1e-6


def test_a_restart_goes_on_with_a_term_of_the_page(shrinking: str, tmp_path: Path) -> None:
    given = ["input.dimension=inf", "discretization.accuracy=false", "output.times=5", shrinking]
    whole = mfpde.run(None, **sections(given, 2.0)).loss
    mfpde.run(None, save=tmp_path / "half.h5", **sections(given, 1.0))
    on = mfpde.run(None, restart=tmp_path / "half.h5", training={"final_time": 2.0, "terms": ["shrinking(0.3)"]}, times=5)
    assert abs(on.loss[-1] - whole[-1]) < 1e-12
    with pytest.raises(InputError, match="terms"):
        mfpde.run(None, restart=tmp_path / "half.h5", training={"final_time": 2.0, "terms": []})
    assert abs(mfpde.run(None, restart=tmp_path / "half.h5", final_time=2.0).loss[-1] - whole[-1]) < 1e-12


def sections(overrides: list[str], end: float) -> dict[str, Any]:
    """The sections of a configuration, as `mfpde.run` takes them."""
    config = mfpde.load(None, [*overrides, f"training.final_time={end}"])
    return tomllib.loads(config.to_toml())


def test_a_sweep_varies_a_term_of_the_page(shrinking: str, tmp_path: Path) -> None:
    """By a parameter in its brackets."""
    (tmp_path / "s.toml").write_text(
        "[parameters]\nc = 0.1\n[input]\ndimension = inf\n"
        "[training]\nfinal_time = 1.0\nterms = ['shrinking(c)']\n[discretization]\naccuracy = false\n[output]\ntimes = 3\n"
    )
    done = command("sweep", "s.toml", "--vary", "parameters.c=[0.1, 0.5]", "--output", "sweep.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    losses = []
    for strength in (0.1, 0.5):
        given = ["input.dimension=inf", "training.final_time=1.0", f'training.terms=["shrinking({strength})"]']
        losses.append(mfpde.run(tomllib.loads(mfpde.load(None, given).to_toml()), accuracy=False, times=3).loss[-1])
    with h5py.File(tmp_path / "sweep.h5") as file:
        found = file["loss"][:, -1]
    assert np.abs(found - losses).max() < 1e-10 and abs(losses[0] - losses[1]) > 1e-3


def test_a_file_whose_term_is_missing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mfpde.density.marginal import density

    with monkeypatch.context() as patch:
        folder = dropped("mfpde/problem/terms/shrinking.py", tmp_path / "terms")
        patch.setattr(terms_package, "__path__", [*terms_package.__path__, str(folder)])
        given = [*SMALL, "training.final_time=0.5", "output.times=3", "discretization.accuracy=false"]
        config, problem = read(*given, 'training.terms=["shrinking(0.3)"]', f"output.file={tmp_path}/o.h5")
        solve(SELF, config, problem)
    for use in (lambda: density(tmp_path / "o.h5", ("a",)), lambda: mfpde.run(None, restart=tmp_path / "o.h5", final_time=1.0)):
        with pytest.raises(InputError, match=r"terms\[0\]: 'shrinking\(0.3\)' is no term of the velocity"):
            use()


def test_a_density_that_another_term_would_have_is_refused(
    shrinking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module is another one now: the points that make the density are not where the run's own went."""
    from mfpde.density.marginal import density

    config, problem = read(*ALONE, *SMALL, shrinking, "training.final_time=2.0", "output.times=3", f"output.file={tmp_path}/o.h5")
    solve(SELF, config, problem)
    monkeypatch.setattr(type(problem.stages[0].terms[0]), "add", lambda *arguments: None)
    with pytest.raises(InputError, match="not where its configuration takes them"):
        density(tmp_path / "o.h5", ("a",))


def test_a_problem_that_its_configuration_does_not_describe_is_refused(shrinking: str, tmp_path: Path) -> None:
    """Its density and a restart would be of another problem."""
    config, _ = read(*SMALL, f"output.file={tmp_path}/o.h5")
    _, other = read(*SMALL, shrinking)
    with pytest.raises(InputError, match=r"training\.terms"):
        solve(SELF, config, other)
    assert not (tmp_path / "o.h5").exists()


HEAD = "from dataclasses import dataclass\nfrom mfpde.problem.terms import Term\n"
PUSH = """@dataclass(frozen=True)
class Push(Term):
    strength: float
    usage = "push(c)"
    def add(self, time, xi, neurons, rates):
        rates.v += self.strength
"""


@pytest.mark.parametrize(
    "old, new, rate, message",
    [
        ("", "", 0.0, "moves w, which has no learning rate"),
        ("rates.v += self.strength", "rates.v += neurons.a[0, :3]", 1.0, "cannot be added: ValueError"),
        ("rates.v += self.strength", "rates.v = rates.v + self.strength", 1.0, r"allowed: rates.v\[...\] = value, or \+="),
        ("def add", "def added", 1.0, "Push has no add"),
        ('usage = "push(c)"', "", 1.0, "Push has no usage"),
        ("@dataclass(frozen=True)\n", "", 1.0, "Push is no dataclass"),
    ],
)
def test_a_term_that_cannot_do_what_it_says_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, rate: float, message: str
) -> None:
    """A term that moves what is not integrated would be lost without a word."""
    name = f"push_{zlib.crc32((old + new).encode()):x}"
    (tmp_path / f"{name}.py").write_text(HEAD + PUSH.replace(old, new))
    monkeypatch.setattr(terms_package, "__path__", [*terms_package.__path__, str(tmp_path)])
    with pytest.raises(InputError, match=message):
        read(f"training.xi_w={rate}", f'training.terms=["{name}(0.3)"]')


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The basis of the page, found by its name."""
    folder = dropped("mfpde/features/bases/points.py", tmp_path / "bases")
    monkeypatch.setattr(bases_package, "__path__", [*bases_package.__path__, str(folder)])
    return "discretization.features=points"


# An entire activation: both bases converge at once.
AT_INFINITY = ["input.dimension=inf", "network.activation=sin(u)+cos(u)", "discretization.a_nodes=6", "training.final_time=1.0"]


def test_a_basis_of_the_page_has_the_loss_of_the_hermite_modes(points: str) -> None:
    """f at Gauss points and Hermite modes are two truncations that know nothing of one another: p = 1 and 2."""
    for target, K, near in (("z1 + z1**2/2", 20, 1e-11), ("z1 + z1*z2", 9, 1e-5)):
        given = [*AT_INFINITY, f"target.polynomial={target}", "discretization.accuracy=false", "output.times=3"]
        hermite = mfpde.run(sections_of(given, "discretization.hermite_degree=24")).loss
        values = mfpde.run(sections_of(given, f"discretization.hermite_degree={K}", points)).loss
        assert np.abs(values - hermite).max() < near and values[0] - values[-1] > 0.05


def test_a_basis_of_the_page_is_known_to_all_that_reads_a_configuration(points: str, tmp_path: Path) -> None:
    """Its density, a restart, a sweep, particles; what needs Hermite modes, and what the basis does not know, is refused."""
    from mfpde.density.marginal import density

    small = [
        *AT_INFINITY,
        points,
        "target.polynomial=z1 + z1**2/2",
        "discretization.hermite_degree=8",
        "discretization.accuracy=false",
        "output.times=3",
    ]
    result = mfpde.run(sections_of(small), save=tmp_path / "o.h5")
    on = mfpde.run(None, restart=tmp_path / "o.h5", final_time=2.0)
    assert abs(on.loss[-1] - mfpde.run(sections_of(small), final_time=2.0, times=5).loss[-1]) < 1e-9
    found = density(tmp_path / "o.h5", ("a",), bins=50)
    middle = (found.edges[0][1:] + found.edges[0][:-1]) / 2
    with h5py.File(tmp_path / "o.h5") as file:
        last = max(file["slices/snapshots"])
        mean = file["slices/label_weight"][:] @ file[f"slices/snapshots/{last}/A"][:, 0, 0]
    assert abs((found.mass * middle).sum() - mean) < 2e-3 and result.loss[-1] < result.loss[0]
    (tmp_path / "c.toml").write_text(mfpde.load(None, small).to_toml())
    told = command("sweep", "c.toml", "--vary", "training.xi_a=[0.5, 1.0]", "--output", "s.h5", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    with h5py.File(tmp_path / "s.h5") as file:
        assert abs(file["loss"][1, -1] - result.loss[-1]) < 1e-12
    drawn = ["--set", "particles.sampling=gauss", "--set", "particles.particles=6", "--output", "p.h5"]
    assert command("particles", "c.toml", *drawn, cwd=tmp_path).returncode == 0
    with h5py.File(tmp_path / "p.h5") as file:
        assert np.abs(file["history/loss"][:] - result.loss).max() < 1e-7
    for words in (["particles", "c.toml", "--set", "particles.method=sgd"], ["solve", "c.toml", "--set", "input.dimension=10"]):
        refused = command(*words, "--output", "no.h5", cwd=tmp_path)
        assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1, refused.stderr


def test_a_run_to_an_accuracy_studies_a_basis_of_the_page(points: str) -> None:
    """Its size is that of K: the error covers what a far larger one says."""
    result = mfpde.run(sections_of(AT_INFINITY, points, "target.polynomial=z1", "discretization.accuracy=1e-2", "output.times=3"))
    fine = sections_of(AT_INFINITY, "target.polynomial=z1", "discretization.accuracy=1e-6", "output.times=3")
    assert result.error is not None and (np.abs(result.loss - mfpde.run(fine).loss) < result.error).all()


def sections_of(overrides: list[str], *more: str) -> dict[str, Any]:
    """The sections of a configuration, as `mfpde.run` takes them."""
    return tomllib.loads(mfpde.load(None, [*overrides, *more]).to_toml())


SKEWED = '''"""An exponential law, which says nothing of its symmetry."""

from dataclasses import dataclass

import numpy as np

from mfpde.problem.laws import Law


@dataclass(frozen=True)
class Exponential(Law):
    mean: float
    usage = "exponential(m)"

    @property
    def support(self):
        return 0.0, np.inf

    def density(self, x):
        return np.exp(-x / self.mean)

    def quantile(self, u):
        return -self.mean * np.log1p(-u)
'''


def test_a_skewed_law_is_right_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shrinking: str) -> None:
    """a_0 of mean 1/2, shrinking alone: E a = exp(-0.6 t) / 2 in elements, density, particles, a restart and a sweep."""
    from mfpde.density.marginal import density

    folder = tmp_path / "laws"
    folder.mkdir()
    (folder / "exponential.py").write_text(SKEWED)
    monkeypatch.setattr(laws_package, "__path__", [*laws_package.__path__, str(folder)])
    problem = read("initial.a=exponential(0.5)")[1]
    assert not problem.a.symmetric and "not symmetric" in problem.notices[0]
    given = [*ALONE, *SMALL, shrinking, "initial.a=exponential(0.5)", "training.final_time=1.0", "output.times=3"]
    mfpde.run(sections_of(given), save=tmp_path / "o.h5")
    mfpde.run(None, restart=tmp_path / "o.h5", save=tmp_path / "on.h5", final_time=1.5)
    for name, time in (("o.h5", 1.0), ("on.h5", 1.5)):
        with h5py.File(tmp_path / name) as file:
            snapshot = file[f"slices/snapshots/{max(file['slices/snapshots'])}"]
            A, weight = snapshot["A"][:], file["slices/label_weight"][:]
            mean = weight @ (A * file["slices/y_weight"][:]).sum(axis=(1, 2))
        assert abs(mean - exp(-0.6 * time) / 2) < 1e-6
        found = density(tmp_path / name, ("a",), time, bins=np.linspace(0, 6, 601)[None])
        assert abs((found.mass * (np.arange(600) + 0.5) / 100).sum() - mean) < 2e-3
    (tmp_path / "c.toml").write_text(mfpde.load(None, given).to_toml())
    drawn = ["--set", "particles.sampling=sobol", "--set", "particles.particles=4096", "--output", "p.h5"]
    assert command("particles", "c.toml", *drawn, cwd=tmp_path).returncode == 0
    with h5py.File(tmp_path / "p.h5") as file:
        assert abs(file["particles/a"][:].mean() - exp(-0.6) / 2) < 1e-3
    vary = ["--vary", 'initial.a=["exponential(0.5)", "exponential(0.25)"]', "--output", "s.h5"]
    assert command("sweep", "c.toml", *vary, cwd=tmp_path).returncode == 0


def test_a_diagnostic_of_the_page_is_recorded_and_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both frames, after a restart, and where a point starts."""
    name = "mfpde/evolution/indicators/largest_weight.py"
    folder = dropped(name, tmp_path / "indicators")
    (folder / "largest_weight.py").write_text(blocks()[name].replace("LIMIT = 1e3", "LIMIT = 1.1"))
    monkeypatch.setattr(indicators_package, "__path__", [*indicators_package.__path__, str(folder)])
    indicators.cache_clear()
    try:
        small = ["discretization.a_nodes=4", "discretization.r_nodes=1", "discretization.cells=4", "training.final_time=2.0"]
        for given in ([AFFINE], [], ["input.dimension=inf"]):
            config, problem = read(*small, *given, "output.times=5", f"output.file={tmp_path / 'out.h5'}")
            summary = solve(SELF, config, problem)
            with h5py.File(tmp_path / "out.h5") as file:
                recorded = file["history/largest_weight"][:]
            assert abs(recorded[0] - 1) < 0.1 and recorded[-1] > 1.1
            assert any("largest_weight" in advice and "blow up" in advice for advice in summary.warnings)
        on = mfpde.run(None, restart=tmp_path / "out.h5", final_time=3.0, times=5)
        later = on.columns["largest_weight"]
        assert np.array_equal(later[:3], recorded[:3]) and later[-1] > recorded[-1] and np.isfinite(later).all()
    finally:
        indicators.cache_clear()


@pytest.fixture
def second_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's run with the output of the page, in a folder of its own."""
    (tmp_path / "my_outputs").mkdir()
    dropped("mfpde/formats/second_moments.py", tmp_path / "my_outputs")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__])
    monkeypatch.delitem(sys.modules, "mfpde.formats.second_moments", raising=False)
    monkeypatch.chdir(tmp_path)
    return run("a run with it")["run"]


def assert_moments_of_every_record(stem: str, count: int) -> None:
    rows = np.loadtxt(f"{stem}_moments.txt")
    with h5py.File(f"{stem}.h5") as file:
        told, h = file["history/coefficients"][:], file["target/coefficients"][:]
        assert np.abs(rows[:, 0] - file["history/time"][:]).max() < 1e-14
    assert len(rows) == count and np.abs(rows[:, 1] - 0.5 * ((told - h) ** 2).sum(axis=1)).max() < 1e-14
    assert abs(rows[0, 2] - 1 / 3) < 1e-12 and abs(rows[0, 3] - 1) < 1e-8 and (np.diff(rows[:, 3]) > 0).all()


def test_an_output_of_the_page_writes_a_line_for_every_record(second_moments: Any) -> None:
    """Of a run, of one that goes on from it, and of one whose accuracy takes two passes."""
    fixed = {"accuracy": False, "a_nodes": 8}
    assert second_moments(SELF, **fixed).summary.files == {"second_moments": Path("staircase_moments.txt")}
    assert_moments_of_every_record("staircase", 5)
    longer = {"final_time": 1.5, "times": [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]}
    mfpde.run(comm=SELF, restart="staircase.h5", save="longer.h5", **longer)
    assert_moments_of_every_record("longer", 7)
    with two_passes():
        assert len(second_moments(SELF, accuracy=1e-2).summary.answer.passes) == 2
    assert_moments_of_every_record("staircase", 5)


def test_an_output_of_the_page_is_written_by_the_command_and_in_a_sweep(second_moments: Any, tmp_path: Path) -> None:
    words = ["output.also=['second_moments']", "training.final_time=1.0", "output.times=5", "output.plot=false"]
    words += ["discretization.accuracy=false", "discretization.a_nodes=8"]
    options = [word for key in words for word in ("--set", key)]
    assert run_here(tmp_path, "solve", *options, "--output", "out.h5", "--quiet") == 0
    assert_moments_of_every_record("out", 5)
    assert run_here(tmp_path, "sweep", *options, "--vary", "input.dimension=[100]", "--output", "s.h5", "--quiet") == 0
    assert_moments_of_every_record("s/dimension=100", 5)


def test_every_piece_of_the_page_is_run_by_a_test() -> None:
    here = Path(__file__).read_text()
    assert len(blocks()) == 8 and all(f'"{name}"' in here for name in blocks())
