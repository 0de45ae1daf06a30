"""The DG operator: equal to its UFL form, conservative, of its order."""

import numpy as np
import pytest
from mpi4py import MPI

from mfpde.affine.mesh import box_mesh, gauss_basis, reference_mesh
from mfpde.affine.transport import Transport


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
        assert abs(basis.weights @ x ** (2 * degree + 1) - 1 / (2 * degree + 2)) < 1e-14
