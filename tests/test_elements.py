"""The DG operator: equal to its UFL form, conservative, of its order."""

import numpy as np
import pytest
from mpi4py import MPI
from ufl_forms import carried_form, density_form, gauss_space, node_dofs

from mfpde.affine.mesh import ReferenceMesh, box_mesh, gauss_basis, reference_mesh
from mfpde.affine.transport import Transport

WORLD = MPI.COMM_WORLD


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


@pytest.mark.mpi
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


@pytest.mark.mpi
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


def smooth_error(p: int, degree: int, cells: int) -> float:
    """Error of the semi-discrete operator's moment against int q beta.grad psi for smooth data."""
    mesh = reference_mesh(box_mesh(MPI.COMM_SELF, p, cells, 2.0, 0.5), degree)
    y = mesh.y
    wall = np.cos(np.pi * y / 4)  # beta.n = 0 at |y_i| = 2
    beta = wall * np.sin(y.sum(axis=0) + 1.0)
    a = np.exp(0.3 * y.sum(axis=0))
    q = np.exp(-(y**2).sum(axis=0) / 2)
    rates = [np.empty((1, *q.shape)), np.zeros((1, *q.shape))]
    Transport(MPI.COMM_SELF, mesh, 1).apply(np.ascontiguousarray(beta[None]), (q[None], a[None], None), (*rates, None))
    exact = -0.3 * a * beta.sum(axis=0)
    return float(np.sqrt((mesh.weight * (rates[1][0] - exact) ** 2).sum()))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_operator_is_consistent_of_order_degree(p: int, degree: int) -> None:
    """One derivative costs one order: the truncation error of the operator itself is h^degree."""
    errors = [smooth_error(p, degree, cells) for cells in (8, 16)]
    assert np.log2(errors[0] / errors[1]) > degree - 0.2


def test_limiter_keeps_mass_and_makes_the_density_non_negative() -> None:
    mesh = reference_mesh(box_mesh(MPI.COMM_SELF, 2, 6, 5.0, 1.0), 3)
    q = np.exp(-0.5 * (mesh.y**2).sum(axis=0))[None] + 1e-3 * np.random.default_rng(1).standard_normal(
        (2, mesh.cells, mesh.nodes)
    )
    mass = (mesh.weight * q).sum(axis=(1, 2))
    changed = Transport(MPI.COMM_SELF, mesh, 2).limit(q, MPI.COMM_SELF)
    assert changed > 0 and q.min() >= 0
    assert np.abs((mesh.weight * q).sum(axis=(1, 2)) - mass).max() < 1e-13 * mass.max()


def test_gauss_basis_differentiates_and_extends_polynomials_exactly() -> None:
    for degree in range(1, 8):
        basis = gauss_basis(degree)
        x, power = basis.points, degree
        assert np.abs(basis.differentiate @ x**power - power * x ** (power - 1)).max() < 1e-12
        assert np.abs(basis.trace @ (1 + x**power) - [1.0, 2.0]).max() < 1e-13
        assert abs(basis.weights @ x ** (2 * degree + 1) - 1 / (2 * degree + 2)) < 1e-15
