"""Particles, networks, SGD and searches: the same on any number of ranks."""

from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest
from mpi4py import MPI
from support import alone, coarse, features_of, measured

from mfpde.errors import InputError
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.learnability import gap
from mfpde.learnability.search import search
from mfpde.particles.network import NetworkFlow, initial_network
from mfpde.particles.run import particles
from mfpde.particles.sgd import Sgd
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF


@pytest.mark.parametrize("sampling", ["random", "sobol", "gauss"])
def test_particles_give_the_same_curve_on_any_number_of_ranks(sampling: str, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    """Sums in another order: the same to round-off. Fewer particles than ranks leave no rank waiting."""
    folder = WORLD.bcast(tmp_path_factory.mktemp("particles") if WORLD.rank == 0 else None)
    counts = (256, 4) if sampling != "gauss" else (500,)
    short = ["training.final_time=1.0", "output.times=3", "discretization.accuracy=1e-2", "input.dimension=50"]
    for count in counts:
        config, problem, _ = coarse(f"particles.sampling={sampling}", f"particles.particles={count}", *short)
        particles(WORLD, replace_file(config, folder / "all.h5"), problem)
        one = replace_file(config, folder / "one.h5")
        alone(lambda one=one, problem=problem: particles(SELF, one, problem))
        with h5py.File(folder / "all.h5") as together, h5py.File(folder / "one.h5") as serial:
            assert np.abs(together["history/loss"][:] - serial["history/loss"][:]).max() < 1e-12
            assert np.abs(together["particles/v"][:] - serial["particles/v"][:]).max() < 1e-10
        WORLD.Barrier()


def replace_file(config: Config, path: Path) -> Config:
    return msgspec.structs.replace(config, output=msgspec.structs.replace(config.output, file=str(path)))


def network_loss(problem: Problem, features: HermiteFeatures, times: list[float], start, tolerance: float = 1e-8):  # type: ignore[no-untyped-def]
    return measured(NetworkFlow(problem, features, *start), times, tolerance)


def test_networks_and_sgd_give_the_same_curve_on_any_number_of_ranks() -> None:
    """Neurons passed around the ring, and sums in another order: the same to round-off. 5 neurons leave some ranks idle."""
    config, problem, _ = coarse("input.dimension=15", "training.final_time=1.0", "output.times=3")

    def losses(n: int, comm: MPI.Intracomm) -> np.ndarray:
        features = features_of(config, problem, comm)
        span = [n * k // comm.size for k in (comm.rank, comm.rank + 1)]
        start = initial_network(problem, n, (0, 0), *span)
        loss = list(network_loss(problem, features, config.record_times, start))
        training = Sgd(problem, features, *start, 20, 0.1, (0, 0))
        training.run(config.record_times, lambda time, value, moments: loss.append(value))
        return np.array(loss)

    for n in (5, 37):
        assert np.abs(losses(n, WORLD) - alone(lambda n=n: losses(n, SELF))).max() < 1e-12


def test_a_search_does_not_depend_on_the_ranks_and_resumes(tmp_path: Path) -> None:
    path = WORLD.bcast(tmp_path / "gap.h5")
    families = ["sparse", "cancelling"]
    search(WORLD, path, ["sparse"], 4, 3)
    rows = search(WORLD, path, families, 8, 3)
    expected = alone(lambda: {name: [gap.examine(gap.FAMILIES[name](i, 3), 3).row for i in range(8)] for name in families})
    assert {name: rows[name].tolist() for name in families} == expected
    with pytest.raises(InputError, match="seed"):
        search(WORLD, path, families, 8, 4)
