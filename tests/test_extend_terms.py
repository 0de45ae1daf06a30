"""How to extend by a term of the velocity or a basis of features: the code of examples/EXTEND.md, and laws with them."""

import tomllib
import zlib
from math import exp
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from extension import ALONE, SELF, SMALL, dropped, sections_of
from support import coarse, command, packed, rates_of, read, states

import mfpde
import mfpde.features.bases as bases_package
import mfpde.problem.laws as laws_package
import mfpde.problem.terms as terms_package
from mfpde.discretisations import start_flow
from mfpde.errors import InputError
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.particles.network import NetworkFlow, initial_network
from mfpde.particles.sampling import random_particles
from mfpde.particles.sgd import Sgd
from mfpde.solve import solve


@pytest.fixture
def shrinking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The term of the page, found by its name: strength 0.3 at rates xi_a = 2, xi_w = 1."""
    folder = dropped("mfpde/problem/terms/shrinking.py", tmp_path / "terms")
    monkeypatch.setattr(terms_package, "__path__", [*terms_package.__path__, str(folder)])
    return 'training.terms=["shrinking(0.3)"]'


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
    fine = sections_of(AT_INFINITY, "target.polynomial=z1", "discretization.accuracy=1e-5", "output.times=3")
    assert result.error is not None and (np.abs(result.loss - mfpde.run(fine).loss) < result.error).all()


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
