"""Meshes and cells over all ranks: the operator is its UFL form, mass is conserved, cells have their natural numbers."""

from math import factorial, prod

import numpy as np
import pytest
from mpi4py import MPI
from ufl_forms import carried_form, density_form, gauss_space, node_dofs

from mfpde.affine.mesh import ReferenceMesh, box_mesh, reference_mesh
from mfpde.affine.transport import Transport
from mfpde.moving.cells import normal_cells

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF

SHAPES = [
    (((),), (6,)),
    (((-1.0, 0.5),), (4,)),
    (((-1.0, 1.0), (0.0,)), (3, 4)),
    (((), ()), (5, 5)),
    (((0.0,), (-1.0, 1.0), ()), (2, 3, 4)),
]


def skewed_mesh(p: int, cells: int = 3, degree: int = 2) -> ReferenceMesh:
    """A mesh whose cells are not boxes."""
    domain = box_mesh(WORLD, p, cells, 2.0, 1.0)
    x = domain.geometry.x
    x[:, :p] += 0.11 * np.sin(x[:, :p].sum(axis=1, keepdims=True) + np.arange(p))
    return reference_mesh(domain, degree)


def random_field(space, dofs, rng):  # type: ignore[no-untyped-def]
    from dolfinx import fem

    function = fem.Function(space)
    bs = space.dofmap.bs
    function.x.array[:] = rng.standard_normal(len(function.x.array))
    function.x.scatter_forward()
    values = function.x.array.reshape(-1, bs)[dofs]
    return function, np.ascontiguousarray(np.moveaxis(values, -1, 0))


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("degree", [1, 3])
def test_kernel_equals_the_assembled_ufl_form(p: int, degree: int) -> None:
    from dolfinx import fem, la

    mesh = skewed_mesh(p, cells=4, degree=degree)
    rng = np.random.default_rng(WORLD.rank)
    scalar, vector = gauss_space(mesh), gauss_space(mesh, p)
    dofs, vector_dofs = node_dofs(mesh, scalar), node_dofs(mesh, vector)
    q, q_values = random_field(scalar, dofs, rng)
    a, a_values = random_field(scalar, dofs, rng)
    beta, beta_values = random_field(vector, vector_dofs, rng)
    transport = Transport(WORLD, mesh, 1)
    owned = mesh.owned
    ours = {"q": np.empty((1, owned, mesh.nodes)), "a": np.zeros((1, owned, mesh.nodes))}
    values = np.ascontiguousarray(beta_values[None])
    values[:, :, owned:] = np.nan  # the ghosts must come from their owners
    fields = tuple(np.ascontiguousarray(x[:, :owned]) for x in (q_values, a_values))
    transport.apply(values, (*fields, None), (ours["q"], ours["a"], None))
    for name, form in (("q", density_form(q, beta, degree)), ("a", carried_form(a, beta, degree))):
        assembled = fem.assemble_vector(fem.form(form))
        assembled.scatter_reverse(la.InsertMode.add)
        expected = assembled.array[dofs[:owned]] / mesh.weight[:owned]
        # Round-off: a sum of a few hundred products of size |beta| |q| / h.
        assert np.abs(ours[name][0] - expected).max(initial=0.0) < 1e-12 * max(np.abs(expected).max(initial=0.0), 1.0)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_mass_is_conserved_and_constants_are_carried_exactly(p: int) -> None:
    mesh = skewed_mesh(p)
    rng = np.random.default_rng(7 + WORLD.rank)
    beta = rng.standard_normal((2, p, mesh.cells, mesh.nodes))
    q = rng.standard_normal((2, mesh.owned, mesh.nodes))
    ones, rates = np.ones_like(q), [np.empty_like(q), np.zeros_like(q)]
    Transport(WORLD, mesh, 2).apply(beta, (q, ones, None), (*rates, None))
    change = np.array([(mesh.weight[: mesh.owned] * rates[0][s]).sum() for s in range(2)])
    scale = WORLD.allreduce(np.abs(mesh.weight[: mesh.owned] * rates[0]).sum())
    assert np.abs(WORLD.allreduce(change)).max() < 1e-14 * scale
    assert np.abs(rates[1]).max(initial=0.0) < 1e-11  # derivatives of 1 at nodes: eps times n^2 / h times |beta|


@pytest.mark.parametrize("edges,counts", SHAPES)
def test_cells_cover_the_normal_law_with_exact_moments(edges: tuple[tuple[float, ...], ...], counts: tuple[int, ...]) -> None:
    """E[prod y_q^k_q] = prod (k_q - 1)!! to degree 2 n - 1 in each variable, over all ranks."""
    cells = normal_cells(WORLD, edges, counts)
    p = len(edges)
    assert cells.y.shape == (p, *cells.mass.shape) and cells.mass.shape[1] == prod(counts)
    assert (cells.mass > 0).all() and abs(WORLD.allreduce(cells.mass.sum()) - 1) < 1e-14
    double = lambda k: 0 if k % 2 else factorial(k) // (2 ** (k // 2) * factorial(k // 2))  # noqa: E731
    for powers in np.random.default_rng(p).integers(0, [2 * n for n in counts], (12, p)):
        local = (cells.mass * np.prod(cells.y ** powers[:, None, None], axis=0)).sum()
        size = np.sqrt(float(prod(double(2 * int(k)) for k in powers)))
        assert abs(WORLD.allreduce(local) - prod(double(int(k)) for k in powers)) < 1e-12 * size


@pytest.mark.parametrize("edges,counts", SHAPES)
def test_cells_have_natural_numbers_and_are_the_same_on_any_number_of_ranks(
    edges: tuple[tuple[float, ...], ...], counts: tuple[int, ...]
) -> None:
    """Cell (i_1, .., i_p) has the lexicographic number, and lies between its edges."""
    cells, alone = normal_cells(WORLD, edges, counts), normal_cells(SELF, edges, counts)
    numbers = np.concatenate(WORLD.allgather(cells.natural))
    assert sorted(numbers.tolist()) == list(range(cells.count)) and cells.shape == tuple(len(x) + 1 for x in edges)
    place = np.argsort(alone.natural)[cells.natural]
    assert np.array_equal(cells.y, alone.y[:, place]) and np.array_equal(cells.mass, alone.mass[place])
    for q, panel in enumerate(np.unravel_index(cells.natural, cells.shape)):
        ends = np.array([-np.inf, *edges[q], np.inf])
        assert (cells.y[q] > ends[panel][:, None]).all() and (cells.y[q] < ends[panel + 1][:, None]).all()
