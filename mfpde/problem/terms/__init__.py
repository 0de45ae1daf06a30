"""Terms of a neuron's velocity beside the interaction, one class in one module each.

A term moves every neuron (a, v, r), and with biases b, by itself, whatever carries the neurons: a mesh, nodes that follow the
flow, particles, the neurons of a network (there w_perp' = r' w_perp / r).  A configuration names it, "weight_decay(0.1)", as it
names a law, so that whoever reads the configuration knows it: a run, its density, a restart, a sweep, particles.  Every flow
adds the terms of its stage to the interaction (`mfpde.evolution.drift`).
"""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.neurons import LearningRates, Neurons, Rates, Trained
from mfpde.registry import Named

Array = NDArray[np.float64]

# Step of a central difference.
DIFFERENCE = 1e-5
# Neurons, and times, at which a term is tried before a run.
PROBES = 5


class Term(Named):
    """One term: a frozen dataclass of its numbers, which is sent to every rank with its stage."""

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times since the start of a stage at which it jumps or has a kink, ascending."""
        return ()

    def trains(self, rated: Trained) -> Trained:
        """What it moves, where `rated` says what has a learning rate: what nothing moves is not integrated. A term that moves
        neurons whatever their learning rates are says so here."""
        return rated

    @abstractmethod
    def add(self, time: float, xi: LearningRates, neurons: Neurons, rates: Rates) -> None:
        """Adds this term's velocity to `rates`, in place.

        Args:
            time: Since the start of the stage.
            xi: Learning rates at that time.
            neurons: Where the neurons are.
            rates: Arrays of the same shapes, to add to in place, rates.v += ...; None where a, r or b stands still.
        """

    def divergence(self, time: float, xi: LearningRates, neurons: Neurons) -> Array:
        """The divergence of its velocity in (a, v, r, b), shape (slices, nodes): by central differences unless a term knows."""
        rows = _rows(neurons)
        total, h = np.zeros_like(neurons.a), DIFFERENCE
        for q in range(len(rows)):
            for side in (1, -1):
                moved, rate = rows.copy(), np.zeros_like(rows)
                moved[q] += side * h
                self.add(time, xi, _of_rows(moved, neurons), _rates_of_rows(rate, neurons))
                total += side * rate[q] / (2 * h)
        return total


class GradientTerm(Term):
    """A term a' = -xi_a dU/da, w' = -xi_w grad U, b' = -xi_b dU/db: E + int U d rho, the regularised loss, then decreases."""

    @abstractmethod
    def potential(self, neurons: Neurons) -> Array:
        """U at the neurons, shape (slices, nodes)."""


def _rows(neurons: Neurons) -> Array:
    """a, v, r and with biases b as rows, shape (p + 2 or p + 3, slices, nodes)."""
    biases = () if neurons.b is None else (neurons.b[None],)
    return np.concatenate((neurons.a[None], np.moveaxis(neurons.v, 1, 0), neurons.r[None], *biases))


def _of_rows(rows: Array, like: Neurons) -> Neurons:
    p = like.v.shape[1]
    return Neurons(rows[0], np.moveaxis(rows[1 : p + 1], 0, 1), rows[p + 1], None if like.b is None else rows[p + 2])


def _rates_of_rows(rows: Array, like: Neurons) -> Rates:
    views = _of_rows(rows, like)
    return Rates(views.a, views.v, views.r, views.b)


def parse_terms(texts: tuple[str, ...], key: str) -> tuple[Term, ...]:
    """The terms that texts such as "weight_decay(0.1)" name.

    Raises:
        InputError: If there is no such term, or its numbers are out of range.
    """
    return tuple(Term.parse(text, f"{key}[{i}]", "term of the velocity") for i, text in enumerate(texts))


def check_moves(term: Term, trained: Trained, p: int, biases: bool, duration: float, key: str) -> None:
    """Checks, at some neurons and times, that a term can be added, and moves nothing that is not integrated.

    Args:
        term: One term of a stage.
        trained: What the stage integrates.
        p: Dimension of V.
        biases: Whether there are any.
        duration: Duration of the stage.
        key: Where the term stands, for messages.

    Raises:
        InputError: If it raises, or moves what stands still.
    """
    rows = np.random.default_rng(0).uniform(0.25, 1.0, (p + 2 + biases, 1, PROBES))
    neurons = Neurons(rows[0], np.moveaxis(rows[1 : p + 1], 0, 1), rows[p + 1], rows[p + 2] if biases else None)
    xi = LearningRates(*map(float, trained))
    rate = np.zeros_like(rows)
    for time in np.linspace(0.0, duration, PROBES):
        try:
            term.add(float(time), xi, neurons, _rates_of_rows(rate, neurons))
        except Exception as error:  # a user's term may fail in any way
            raise InputError(f"{key}: the term {type(term).__name__} cannot be added: {error!r}") from None
        parts = {"a": rate[:1], "w": rate[1 : p + 2], "b": rate[p + 2 :]}
        for (name, part), moves in zip(parts.items(), trained, strict=True):
            if not moves and part.any():
                raise InputError(
                    f"{key}: the term {type(term).__name__} moves {name}, which has no learning rate; allowed: where its "
                    f"`trains` says that it does, or with xi_{name}"
                )
