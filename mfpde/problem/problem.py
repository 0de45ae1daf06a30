"""The mathematical problem of one run, parsed and checked: plain data that can be sent to every rank."""

from dataclasses import dataclass
from math import inf

from mfpde.errors import InputError
from mfpde.problem.defaults import LARGEST_MODES, Numbers, filled, largest_degree, mode_count
from mfpde.problem.inner import InnerLaw
from mfpde.problem.laws import Law, parse_law, violated
from mfpde.problem.laws.normal import Normal
from mfpde.problem.sections import Config, Discretization
from mfpde.problem.stage import Stage
from mfpde.problem.stages import parse_stages
from mfpde.problem.target import Target, parse_function, parse_target

# Rows of a kernel matrix: 70 of them, p = 4 and degree 4, take 3 seconds, with the cube of their number; up to p = 3, whatever
# they take.
LARGEST_KERNEL, KERNEL_P = 130, 3


@dataclass(frozen=True)
class Problem:
    """Target, initial law, and how it is trained.

    Attributes:
        target: h* in orthonormal Hermite polynomials of z = x_V.
        d: Dimension of x, an integer or inf.
        a: Law of the outer weights a_0.
        w: Law of the inner weights w_0.
        stages: Stages of the training: activation, learning rates, duration.
        b: Law of the biases b_0; None where there are none.
        features: Name of the basis of functions of x that networks are expanded in.
    """

    target: Target
    d: float
    a: Law
    w: InnerLaw
    stages: tuple[Stage, ...]
    b: Law | None = None
    features: str = "hermite"

    @property
    def p(self) -> int:
        """Dimension of the subspace V."""
        return self.target.p

    @property
    def directions(self) -> dict[str, Law]:
        """The laws of what a neuron starts with, all of them independent, by name: a (a_0), with biases b (b_0), r (r_0^2), and
        y1, ..., yp with v_0 = y / sqrt(d)."""
        return self.label_laws | self.y_laws

    @property
    def label_laws(self) -> dict[str, Law]:
        """Those of the labels a, b and r."""
        biases = {} if self.b is None else {"b": self.b}
        return {"a": self.a, **biases, "r": self.w.squared_radius}

    @property
    def y_laws(self) -> dict[str, Law]:
        """Those of the directions of y."""
        return {f"y{q + 1}": Normal(0.0, 1.0) for q in range(self.p)}

    @property
    def laws(self) -> tuple[Law, ...]:
        """Those laws in order."""
        return tuple(self.directions.values())

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of the problem before its result, a line each."""
        if not (wrong := violated(self.a)):
            return ()
        return (
            f"initial.a is {wrong}: Assumption 3.1 of arXiv 2402.08948 does not hold, and its Theorems 3.4, 3.6 and 4.3 no "
            "longer apply",
        )

    def numbers(self, options: Discretization) -> Numbers:
        """All numbers of a discretisation: given, or by default."""
        return filled(options, self.p, self.d, self.target.least_degree)


def problem_of(config: Config) -> Problem:
    """The problem that a configuration describes, whatever discretisation is to solve it.

    Raises:
        InputError: For the first thing that is wrong, naming its key and what is allowed.
    """
    asked = config.target
    if asked.function is None:
        target = parse_target(asked.polynomial, asked.subspace_dimension)
    else:
        target = parse_function(asked.function, asked.subspace_dimension)
    d = config.dimension
    numbers = filled(config.discretization, target.p, d, target.least_degree)
    if d < target.p + 1:
        raise InputError(f"input.dimension: {d:g} is too small; allowed for p = {target.p}: at least {target.p + 1}, or inf")
    w = InnerLaw(config.initial.w, d, target.p)
    if numbers.hermite_degree < target.least_degree:
        raise InputError(
            f"discretization.hermite_degree: {numbers.hermite_degree} is less than the degree of target.polynomial; "
            f"allowed: at least {target.degree}"
        )
    if (most := target.known_degree) is not None and numbers.hermite_degree > most:
        raise InputError(
            f"discretization.hermite_degree: {numbers.hermite_degree}; allowed with target.function and p = {target.p}: "
            f"up to {most}"
        )
    if (modes := mode_count(target.p, d, numbers.hermite_degree, numbers.radial_degree)) > LARGEST_MODES:
        raise InputError(
            f"discretization.hermite_degree: {numbers.hermite_degree} with p = {target.p} makes {modes:,} modes; allowed: up to "
            f"{LARGEST_MODES:,}, as with hermite_degree = {largest_degree(target.p, d, numbers.radial_degree)}"
        )
    law = parse_law(config.initial.a)
    if config.training.constraint == "sphere" and config.initial.w != "sphere":
        raise InputError(
            f'training.constraint: "sphere" with initial.w = "{config.initial.w}"; allowed: with initial.w = "sphere"'
        )
    if config.training.constraint and config.training.strategy:
        raise InputError("training.constraint: averages leave the sphere; allowed: without training.strategy")
    stages = parse_stages(config, target, numbers)
    degree = max((stage.degree for stage in stages if stage.linear), default=0)
    if target.p > KERNEL_P and (rows := mode_count(target.p, inf, degree, 0)) > LARGEST_KERNEL:
        raise InputError(
            f"training: a kernel matrix of degree {degree} with p = {target.p} has {rows} rows, and its eigenvalues in extended "
            f"precision take hours; allowed for p > {KERNEL_P}: up to {LARGEST_KERNEL} rows"
        )
    biases = None if config.initial.b is None else parse_law(config.initial.b, "initial.b")
    kinked = [stage.activation for stage in stages if (stage.activation.kinks if biases else 0.0 in stage.activation.kinks)]
    if config.initial.w == "zero" and kinked:
        raise InputError(
            f'initial.w: "zero" needs an activation that is differentiable {"everywhere" if biases else "at 0"}, and '
            f'{kinked[0].text!r} is not; allowed here: "gaussian"'
        )
    return Problem(target, d, law, w, stages, biases, config.discretization.features)
