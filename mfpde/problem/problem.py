"""The mathematical problem of one run, parsed and checked: plain data that can be sent to every rank."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mfpde.errors import InputError
from mfpde.problem.activation import Activation
from mfpde.problem.initial import Rule, law_of_a, law_of_r
from mfpde.problem.schedule import Schedule
from mfpde.problem.sections import Config
from mfpde.problem.stages import Stage, parse_stages
from mfpde.problem.target import Target, parse_target


@dataclass(frozen=True)
class Problem:
    """Target, network, initial law and learning rates.

    Attributes:
        target: h* in orthonormal Hermite polynomials of z = x_V.
        activation: sigma (of the first stage).
        d: Dimension of x, an integer or inf.
        xi_a, xi_w: Learning rates of the outer and the inner weights (in the first stage).
        a_rule: Gauss rule of the law of a_0.
        r_rule: Gauss rule of the law of r_0 = |w_{V perp}|.
        w: Law of w_0: N(0, I_d / d) or the point mass at 0.
        final_time: T (of the first stage).
        stages: All stages.
    """

    target: Target
    activation: Activation
    d: float
    xi_a: Schedule
    xi_w: Schedule
    a_rule: Rule
    r_rule: Rule
    w: Literal["gaussian", "zero"]
    final_time: float
    stages: tuple[Stage, ...]

    @property
    def p(self) -> int:
        """Dimension of the subspace V."""
        return self.target.p

    def at_stage(self, index: int) -> "Problem":
        """The problem with the activation and the learning rates of a stage."""
        stage = self.stages[index]
        return replace(self, activation=stage.activation, xi_a=stage.xi_a, xi_w=stage.xi_w, final_time=stage.duration)


def build_problem(config: Config) -> Problem:
    """The problem that a configuration describes.

    Raises:
        InputError: For the first thing that is wrong, naming its key and what is allowed.
    """
    target = parse_target(config.target.polynomial, config.target.subspace_dimension)
    d, degree = float(config.input.dimension), config.discretization.hermite_degree
    if d < target.p + 1:
        raise InputError(f"input.dimension: {d:g} is too small; allowed for p = {target.p}: at least {target.p + 1}, or inf")
    if degree < target.degree:
        raise InputError(
            f"discretization.hermite_degree: {degree} is less than the degree of target.polynomial; "
            f"allowed: {target.degree} to 20"
        )
    stages = parse_stages(config, target)
    kinked = [stage.activation for stage in stages if 0.0 in stage.activation.kinks]
    if config.initial.w == "zero" and kinked:
        raise InputError(
            f'initial.w: "zero" needs an activation that is differentiable at 0, and {kinked[0].text!r} is not; '
            'allowed here: "gaussian"'
        )
    point = Rule(np.zeros(1), np.ones(1), np.ones((1, 1)))
    return Problem(
        target=target,
        activation=stages[0].activation,
        d=d,
        xi_a=stages[0].xi_a,
        xi_w=stages[0].xi_w,
        a_rule=law_of_a(config.initial.a, config.discretization.a_nodes),
        r_rule=point if config.initial.w == "zero" else law_of_r(d, target.p, config.discretization.r_nodes),
        w=config.initial.w,
        final_time=stages[0].duration,
        stages=stages,
    )
