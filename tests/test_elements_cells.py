"""Reference cells, the moving frame and the process grid."""

from dataclasses import dataclass

import numpy as np
import pytest
from mpi4py import MPI

from mfpde.affine.frame import frame_velocity, taper
from mfpde.affine.mesh import box_mesh, reference_mesh
from mfpde.affine.transport import Transport
from mfpde.discretisation.grid import process_grid
from mfpde.errors import InputError
from mfpde.moving.cells import normal_cells, point_cells

SELF = MPI.COMM_SELF


def test_one_cell_has_gauss_hermite_nodes_and_a_point_start_has_one_node() -> None:
    x, w = np.polynomial.hermite_e.hermegauss(4)
    cells = normal_cells(SELF, ((), ()), (4, 4))
    assert np.abs(cells.y[:, 0].reshape(2, 4, 4) - np.meshgrid(x, x, indexing="ij")).max() < 1e-14
    assert np.abs(cells.mass[0].reshape(4, 4) - np.outer(w, w) / w.sum() ** 2).max() < 1e-14
    point = point_cells(3)
    assert point.y.tolist() == [[[0.0]]] * 3 and point.mass.tolist() == [[1.0]] and point.count == 1


def velocities(p: int, slices: int, kind: str):  # type: ignore[no-untyped-def]
    """Points y (slices, n, p), masses (slices, n), and v' there: linear or not."""
    rng = np.random.default_rng(p)
    y, mass = 0.7 * rng.standard_normal((slices, 40, p)) + 0.3, rng.uniform(0.1, 2.0, (slices, 40))
    M, L = rng.standard_normal((slices, p)), rng.standard_normal((slices, p, p))
    v = M[:, None] + np.einsum("sij,snj->sni", L, y)
    return y, mass, v if kind == "linear" else v + np.sin(3 * y) * y[:, :, :1], M, L


def fit_of(y: np.ndarray, mass: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The integrals of 1, y, v', y y^T and v' y^T."""
    products = [np.einsum("sn,sni,snj->sij", mass, x, y).reshape(len(y), -1) for x in (y, v)]
    sums = [np.einsum("sn,sni->si", mass, x) for x in (y, v)]
    return np.concatenate([mass.sum(axis=1, keepdims=True), *sums, *products], axis=1)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_frame_follows_a_linear_velocity_exactly(p: int) -> None:
    """v' = M' + L' y: both come back, whatever the mean and the covariance of y."""
    y, mass, v, M, L = velocities(p, 4, "linear")
    dM, dL = frame_velocity(fit_of(y, mass, v), p)
    assert np.abs(dM - M).max() < 1e-12 and np.abs(dL - L).max() < 1e-12


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_frame_is_the_least_squares_fit_of_any_velocity(p: int) -> None:
    y, mass, v, _, L = velocities(p, 4, "any")
    dM, dL = frame_velocity(fit_of(y, mass, v), p)
    for s in range(4):
        root = np.sqrt(mass[s])[:, None]
        design = root * np.hstack((np.ones((40, 1)), y[s]))
        best = np.linalg.lstsq(design, root * v[s], rcond=None)[0]
        assert np.abs(dM[s] - best[0]).max() < 1e-12 and np.abs(dL[s] - best[1:].T).max() < 1e-12
        assert np.abs(dL[s] - L[s]).max() > 1e-2  # the part that is not linear counts


@pytest.mark.parametrize("p", [1, 2])
def test_the_compiled_integrals_are_those_of_the_fit(p: int) -> None:
    mesh = reference_mesh(box_mesh(SELF, p, 3, 2.0, 1.0), 2)
    rng = np.random.default_rng(0)
    q, dv = rng.uniform(0.5, 1, (2, mesh.owned, mesh.nodes)), rng.standard_normal((2, p, mesh.cells, mesh.nodes))
    found = Transport(SELF, mesh, 2).fit(q, dv)
    y = np.broadcast_to(mesh.y.reshape(p, -1).T, (2, mesh.y[0].size, p))
    expected = fit_of(y, (q * mesh.weight).reshape(2, -1), dv.reshape(2, p, -1).swapaxes(1, 2))
    assert np.abs(found - expected).max() < 1e-12 * np.abs(expected).max()


def test_the_taper_is_one_inside_zero_at_the_wall_and_has_two_continuous_derivatives() -> None:
    """Where it begins and at the wall it leaves 1 and 0 like 10 x^3, x the distance over the width of the taper."""
    inside = np.linspace(-5.0, 5.0, 41)
    assert (taper(inside, 6.0, 5.0) == 1).all() and (taper(np.array([-7.0, -6.0, 6.0, 8.0]), 6.0, 5.0) == 0).all()
    between = np.linspace(5.0, 6.0, 1001)
    value = taper(between, 6.0, 5.0)
    assert (np.diff(value) < 0).all() and np.array_equal(value, taper(-between, 6.0, 5.0))
    assert abs(taper(np.array([5.5]), 6.0, 5.0)[0] - 0.5) < 1e-15
    for half, begin in ((6.0, 5.0), (10.0, 25 / 3)):
        for x in (1e-2, 1e-3):
            h = x * (half - begin)
            begins, ends = taper(np.array([begin + h, half - h]), half, begin)
            # 10 x^3 - 15 x^4 + ..: the next term is 1.5 x of it; and round-off.
            assert abs((1 - begins) / (10 * x**3) - 1) < 2 * x + 1e-15 / x**3
            assert abs(ends / (10 * x**3) - 1) < 2 * x


@dataclass
class Ranks:
    """A communicator that only knows its place, and how it was divided last."""

    rank: int
    size: int
    divided: tuple[int, int] | None = None

    def Split(self, color: int, key: int) -> MPI.Intracomm:
        self.divided = color, key
        return SELF

    def Get_attr(self, key: int) -> None:
        """Nothing is kept."""

    def Set_attr(self, key: int, value: object) -> None:
        """Likewise."""


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 7, 8, 12])
def test_the_process_grid_gives_every_slice_to_one_group_and_divides_the_mesh_last(size: int) -> None:
    """All numbers of labels and cells that are more, as many or fewer than the ranks, and all ranks to a mesh that fit."""
    for slices in (1, 2, 3, 5, 8, 30):
        for cells in (1, 2, 4, 9, 100):
            fitting = [m for m in range(1, min(size, cells) + 1) if size % m == 0]
            for asked in (0, *fitting):
                ranks = [Ranks(rank, size) for rank in range(size)]
                grids = [process_grid(comm, slices, cells, asked) for comm in ranks]  # type: ignore[arg-type]
                groups = grids[0].groups
                mesh_ranks = size // groups
                assert mesh_ranks in fitting and (asked in (0, mesh_ranks)) and groups * mesh_ranks == size
                if not asked:  # the fewest ranks to a mesh that leave no group idle, or as many as there are cells for
                    assert all(size // m > slices for m in fitting if m < mesh_ranks)
                    assert groups <= slices or mesh_ranks == fitting[-1]
                # All ranks, and each by itself, are communicators already.
                divided = [(rank // mesh_ranks, rank) if 1 < mesh_ranks < size else None for rank in range(size)]
                assert [comm.divided for comm in ranks] == divided
                assert all((grid.mesh_comm is comm) == (mesh_ranks == size) for grid, comm in zip(grids, ranks, strict=True))
                held = [grids[group * mesh_ranks].slices for group in range(groups)]
                assert [label for part in held for label in part] == list(range(slices))
                assert max(map(len, held)) - min(map(len, held)) <= 1
                assert all(grid.slices == held[grid.group] for grid in grids)


@pytest.mark.parametrize("size,cells,asked", [(4, 100, 3), (6, 100, 4), (4, 2, 4), (1, 9, 2)])
def test_ranks_that_cannot_share_a_mesh_are_refused_with_what_is_allowed(size: int, cells: int, asked: int) -> None:
    with pytest.raises(InputError, match=r"parallel\.mesh_ranks") as error:
        process_grid(Ranks(0, size), 5, cells, asked)  # type: ignore[arg-type]
    allowed = [m for m in range(1, size + 1) if size % m == 0 and m <= cells]
    assert str(error.value).endswith(f"0, {', '.join(map(str, allowed))}") and "\n" not in str(error.value)
