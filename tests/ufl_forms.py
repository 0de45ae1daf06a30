"""The readable definition of the transport operator, in UFL: what the compiled kernel is held to.

    density   (q', phi) = (q beta, grad phi) - < q* beta.n, [phi] >
    carried   (A', phi) = -(beta.grad A, phi) - < min(beta.n, 0) (A+ - A-), phi >  on each side of a facet

Quadrature is at the nodes, and beta.n on a facet is the mean of its two sides.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.affine.mesh import ReferenceMesh


def gauss_space(mesh: ReferenceMesh, components: int = 0) -> Any:
    """The DOLFINx space whose nodes are the cells' Gauss points; vector-valued if `components` > 0."""
    import basix
    import basix.ufl
    from dolfinx import fem

    variant = basix.LagrangeVariant.gl_warped
    cell = mesh.mesh.basix_cell().name
    element = basix.ufl.element("Lagrange", cell, mesh.degree, lagrange_variant=variant, discontinuous=True)
    return fem.functionspace(mesh.mesh, basix.ufl.blocked_element(element, (components,)) if components else element)


def node_dofs(mesh: ReferenceMesh, space: Any) -> NDArray[np.int64]:
    """The space's degree of freedom at each of our nodes, shape (cells, nodes)."""
    place = space.tabulate_dof_coordinates()[:, : mesh.p]
    dofs = space.dofmap.list
    ours = np.moveaxis(mesh.y, 0, -1)
    gaps = np.abs(place[dofs][:, None] - ours[:, :, None]).max(axis=-1)
    return np.take_along_axis(dofs, gaps.argmin(axis=2), axis=1).astype(np.int64)


def density_form(q: Any, beta: Any, degree: int) -> Any:
    """The UFL form of (q', phi)."""
    import ufl

    phi, n, dx, dS = _measures(q, degree)
    flow = ufl.dot(ufl.avg(beta), n("+"))
    flux = flow * ufl.conditional(ufl.gt(flow, 0), q("+"), q("-"))
    return q * ufl.dot(beta, ufl.grad(phi)) * dx - flux * (phi("+") - phi("-")) * dS


def carried_form(a: Any, beta: Any, degree: int) -> Any:
    """The UFL form of (A', phi), without sources."""
    import ufl

    phi, n, dx, dS = _measures(a, degree)
    flow = ufl.dot(ufl.avg(beta), n("+"))
    into_first = ufl.min_value(flow, 0.0) * (a("-") - a("+")) * phi("+")
    into_second = ufl.max_value(flow, 0.0) * (a("-") - a("+")) * phi("-")
    return -ufl.dot(beta, ufl.grad(a)) * phi * dx - (into_first + into_second) * dS


def _measures(u: Any, degree: int) -> tuple[Any, Any, Any, Any]:
    import ufl

    space = u.function_space
    order = {"quadrature_degree": 2 * degree + 1}  # degree + 1 Gauss points: the nodes
    dx, dS = ufl.Measure("dx", space.mesh, metadata=order), ufl.Measure("dS", space.mesh, metadata=order)
    return ufl.TestFunction(space), ufl.FacetNormal(space.mesh), dx, dS
