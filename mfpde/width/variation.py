"""The first and second variation of the flow by its initial law: rates of the displacements of all neurons, column by column.

A column is a displacement T = (A, X, S) of every node in every sector l, which a source has caused.  With <.> the average over
columns and e = m - h, sector by sector, from the displacements at t = 0, which vanish:

    mu = a0 g(theta0) - m [l = 0] + sum_n w_n ( 1/N_l D_(a,x) . T_(a,x) + lambda_l/N_l D_S T_S )       theta0: the source's node
    T' = -xi (L T + D mu)

    c = 1/2 sum_l <|mu|^2> + 1/2 e.m2,     s^2 = <(e.mu)^2> of l = 0,

and at second order, of which averages are enough, T2 of the nodes and m2 of the modes of l = 0: with V = a g.mu

    F_c = -xi_c sum_l ( 1/N_l ( U_cde <T_d T_e> + 2 <V_cd T_d> ) + lambda_l/N_l 2/r <S dV/dy_c> )
    T2' = -xi (L T2 + D m2) + F
    m2 = sum_l ( 1/N_l sum_n w (a g)_de <T_d T_e> + 2 <D.T of the source's own node> ) + sum_n w D.T2

where in m2 the modes and D are those of l = 0.  (Chassagneux, Szpruch and Tse, arXiv 1901.02556, case a.)
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from mfpde.width.fields import Fields, SectorFields
from mfpde.width.sectors import Sector

Array = NDArray[np.float64]

# 1/N_l and lambda_l/N_l below which a source moves no neuron but itself.
ALONE = 1e-6


@dataclass(frozen=True)
class Sources:
    """Those of some columns.

    Attributes:
        nodes: Numbers of the nodes where they are; None for displacements without a source of their own, such as noise.
        weight: Of each column in an average, shape (columns,).
    """

    nodes: NDArray[np.int64] | None
    weight: Array

    def own(self, sector: Sector) -> NDArray[np.int64] | None:
        """The nodes of the sources, if in a sector no other ones feel them: 1/N_l and lambda_l/N_l are 0, or as good as that."""
        return self.nodes if max(sector.one, sector.tangential) < ALONE else None

    def at_rest(self, sectors: list[Sector], n: int, C: int) -> list[Array]:
        """Displacements 0 of n nodes, shape (n, C, columns) for each sector, or where only its own node feels a source
        (columns, C, 1)."""
        count = len(self.weight)
        return [np.zeros((n, C, count) if self.own(sector) is None else (count, C, 1)) for sector in sectors]


@dataclass(frozen=True)
class Averages:
    """What the second order needs of some columns at one time, and what c and s are made of; sums over columns, with weights.

    Attributes:
        forcing: F, shape (P + 1, n).
        moments: m2 without T2, shape (modes,).
        energy: 1/2 <|mu|^2> by l, shape (sectors,).
        variance: <(e.mu)^2>.
    """

    forcing: Array
    moments: Array
    energy: Array
    variance: float


def response(fields: Fields, here: SectorFields, T: Array, weight: Array, sources: Sources) -> Array:
    """mu of one sector, shape (modes, columns).

    Args:
        fields: The mean field.
        here: The sector's modes.
        T: Displacements, shape (n, P + 2, columns).
        weight: Of the nodes, shape (n,).
        sources: Of the columns.
    """
    if (own := sources.own(here.sector)) is not None:
        return np.asarray((fields.y[0, own, None] * here.values[own, 0]).T)
    n, C, modes = here.D.shape
    part = np.full(C, here.sector.one)
    part[-1] = here.sector.tangential
    weighted = (weight[:, None] * part)[:, :, None] * here.D
    mu = np.asarray(weighted.reshape(n * C, modes).T @ T.reshape(n * C, -1))
    if sources.nodes is not None:
        mu += (fields.y[0, sources.nodes, None] * here.values[sources.nodes, 0]).T
        if here.sector.degree == 0:
            mu -= fields.moments[:, None]
    return mu


def first_order(fields: Fields, here: SectorFields, T: Array, mu: Array, sources: Sources) -> Array:
    """T' of one sector, the shape of T."""
    n, C, modes = here.D.shape
    xi = -fields.xi[None, :, None]
    if (own := sources.own(here.sector)) is not None:
        force = here.D[own] @ mu.T[:, :, None] if fields.interaction else 0.0
        return np.asarray(xi * (fields.L[own] @ T + force))
    out = np.matmul(xi * fields.L, T)
    if fields.interaction:
        out += ((xi * here.D).reshape(n * C, modes) @ mu).reshape(out.shape)
    return np.asarray(out)


def averages(fields: Fields, parts: list[Array], responses: list[Array], weight: Array, by_sector: list[Sources]) -> Averages:
    """The averages over some columns; arguments as for `response`, of all sectors, which may have columns of their own."""
    a, zero = fields.y[0], fields.sectors[0]
    forcing, moments, energy = np.zeros_like(fields.y), np.zeros_like(fields.moments), np.zeros(len(parts))
    n, names = zero.values.shape[:2]
    for number, (here, T, mu) in enumerate(zip(fields.sectors, parts, responses, strict=True)):
        sources = by_sector[number]
        weighted = mu * sources.weight
        energy[number] = 0.5 * float((mu * weighted).sum())
        if (alone := sources.own(here.sector)) is not None:
            moments += 2 * np.einsum("k,kc,kcm->m", sources.weight, T[:, :-1, 0], zero.D[alone, :-1])
            continue
        one, tangential = here.sector.one, here.sector.tangential
        if one:
            TT = np.matmul(T * sources.weight, T.transpose(0, 2, 1))
            forcing += one * _curvature(fields, TT[:, :-1, :-1])
            moments += (one * weight[:, None] * _second_derivative(a, TT)).reshape(n * names) @ zero.values.reshape(n * names, -1)
        if fields.interaction:
            # <T_d g>, <T_d g_i> and <T_d g_ij> of the field g.mu, shape (n, derivatives, P + 2)
            Y = (T.reshape(n * T.shape[1], -1) @ weighted.T).reshape(n, T.shape[1], -1)
            forcing += _force(fields, one, tangential, np.matmul(here.values, Y.transpose(0, 2, 1)))
        if sources.nodes is not None:
            own = T[sources.nodes, :-1, np.arange(len(sources.nodes))] * sources.weight[:, None]
            moments += 2 * np.einsum("kc,kcm->m", own, zero.D[sources.nodes, :-1])
    variance = float(by_sector[0].weight @ (fields.residual @ responses[0]) ** 2)
    return Averages(-fields.xi[:-1, None] * forcing, moments, energy, variance)


def _curvature(fields: Fields, TT: Array) -> Array:
    """U_cde <T_d T_e>, shape (P + 1, n)."""
    a, aX, XX = fields.y[0], TT[:, 0, 1:], TT[:, 1:, 1:]
    of_a = np.einsum("nij,nij->n", fields.psi2, XX)
    of_x = 2 * np.einsum("nij,nj->in", fields.psi2, aX) + a * np.einsum("nijk,njk->in", fields.psi3, XX)
    return np.concatenate((of_a[None], of_x))


def _second_derivative(a: Array, TT: Array) -> Array:
    """What (a g)_de <T_d T_e> consists of: the factors of g (none), g_i and g_ij, shape (n, derivatives)."""
    P = TT.shape[1] - 2
    pairs = [a * TT[:, 1 + i, 1 + j] * (1 if i == j else 2) for i, j in combinations_with_replacement(range(P), 2)]
    return np.column_stack([np.zeros_like(a), *(2 * TT[:, 0, 1 + i] for i in range(P)), *pairs])


def _force(fields: Fields, one: float, tangential: float, of: Array) -> Array:
    """2/N_l <V_cd T_d> + 2 lambda_l/N_l <S dV/dy_c> / r, shape (P + 1, n).

    Args:
        fields: The mean field.
        one, tangential: 1/N_l and lambda_l/N_l.
        of: <T_d g>, <T_d g_i>, <T_d g_ij> of the field g.mu, shape (n, derivatives, P + 2).
    """
    a, P = fields.y[0], len(fields.y) - 1
    place = {pair: 1 + P + number for number, pair in enumerate(combinations_with_replacement(range(P), 2))}
    out = np.empty((P + 1, len(a)))
    out[0] = sum(of[:, 1 + i, 1 + i] for i in range(P))
    for i in range(P):
        out[1 + i] = of[:, 1 + i, 0] + a * sum(of[:, place[min(i, j), max(i, j)], 1 + j] for j in range(P))
    across = np.concatenate((of[:, :1, -1], a[:, None] * of[:, 1 : P + 1, -1]), axis=1).T * fields.inverse_radius
    return 2 * (one * out + tangential * across)


def second_order(fields: Fields, T2: Array, weight: Array, found: Averages) -> tuple[Array, Array]:
    """T2' (P + 1, n) of the mean displacement T2 of second order, alike, and the whole m2 (modes,)."""
    zero = fields.sectors[0]
    D = zero.D[:, :-1]
    m2 = found.moments + np.einsum("n,cn,ncm->m", weight, T2, D)
    force = np.einsum("ncd,dn->cn", fields.L[:, :-1, :-1], T2)
    if fields.interaction:
        force += np.einsum("ncm,m->cn", D, m2)
    return found.forcing - fields.xi[:-1, None] * force, m2
