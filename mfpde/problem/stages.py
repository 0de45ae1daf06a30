"""The stages of a training: given one by one, or by Algorithm 1 of arXiv 2402.08948.

(2) train w alone, xi_a = 0 and xi_w = 1, with sigma on [0, T]
(3) u = (1/n) sum_i w_i over n independent copies; the outer weights start again at a = 0
(4) train a alone, xi_a = 1 and xi_w = 0, with (1 + u)^deg(h*)
"""

from collections.abc import Sequence
from dataclasses import replace
from math import comb, inf

from mfpde.errors import InputError
from mfpde.problem.activation import parse_activation
from mfpde.problem.defaults import Numbers
from mfpde.problem.laws import parse_law
from mfpde.problem.schedule import Schedule, parse_schedule
from mfpde.problem.sections import MOST_COPIES, Config, StageSection
from mfpde.problem.stage import NO_RATE, Stage
from mfpde.problem.target import Target
from mfpde.problem.terms import Term, check_moves, parse_terms
from mfpde.problem.terms.weight_decay import WeightDecay

# Neurons of the average of a point start's copies, one for each multiset of labels.
MOST_TUPLES = 200_000


def parse_stages(config: Config, target: Target, numbers: Numbers) -> tuple[Stage, ...]:
    """The stages of a configuration; a training at once is one stage.

    Args:
        config: The configuration.
        target: h*.
        numbers: Numbers of the discretisation, as given or by default.

    Raises:
        InputError: For the first thing that is wrong, naming its key and what is allowed.
    """
    training = config.training
    sections: tuple[StageSection, ...]
    if training.strategy is not None:
        sections, keys = _chen_ge(config, target, numbers), ["training.strategy"] * 2
    else:
        sections, keys = training.given, [f"training.stages[{i}]" for i in range(len(training.stages))] or ["training"]
    network = parse_activation(config.network.activation)
    stages: list[Stage] = []
    for section, key in zip(sections, keys, strict=True):
        own = section.activation is not None and section.activation != config.network.activation
        stage = Stage(
            start=stages[-1].start + stages[-1].duration if stages else 0.0,
            duration=float(section.duration),
            activation=parse_activation(str(section.activation), f"{key}.activation") if own else network,
            xi_a=parse_schedule(section.xi_a, f"{key}.xi_a", section.duration),
            xi_w=parse_schedule(section.xi_w, f"{key}.xi_w", section.duration),
            xi_b=NO_RATE if config.initial.b is None else _rate_of_biases(section, key),
            average=section.average,
            reset_a=section.reset_a,
            interaction=section.interaction,
            on_sphere=training.constraint == "sphere",
        )
        stage = replace(stage, terms=_terms(section, stage, key))
        for term in stage.terms:
            check_moves(term, stage.trains, target.p, config.initial.b is not None, stage.duration, f"{key}.terms")
        if stage.on_sphere and section.decay_w:
            raise InputError(f'{key}.decay_w: has no effect with training.constraint = "sphere"; allowed: 0')
        if stage.on_sphere and section.average > 1:
            raise InputError(f'{key}.average: averages leave the sphere; allowed with training.constraint = "sphere": 1')
        if own or (stage.linear and stage.reset_a):
            _check_truncation(stage, config, numbers, f"{key}.activation" if own else "network.activation")
        stages.append(stage)
    averaged = (i for i, stage in enumerate(stages) if stage.average > 1 and (stage.linear or spread_start(config)))
    first = 1 if training.strategy is not None else next(averaged, len(stages))
    _check_averages(stages, keys, config.initial.a, numbers.a_nodes, first)
    return tuple(replace(stage, by_moments=i >= first) for i, stage in enumerate(stages))


def _rate_of_biases(section: StageSection, key: str) -> Schedule:
    """That of the inner weights, unless there is one of their own."""
    given = section.xi_w if section.xi_b is None else section.xi_b
    return parse_schedule(given, f"{key}.xi_w" if section.xi_b is None else f"{key}.xi_b", section.duration)


def _terms(section: StageSection, stage: Stage, key: str) -> tuple[Term, ...]:
    """Those that a section asks for."""
    decays, rates = (section.decay_a, section.decay_w, section.decay_b), (stage.xi_a, stage.xi_w, stage.xi_b)
    for name, decay, xi in zip("awb", decays, rates, strict=True):
        if decay and xi.zero:
            raise InputError(f"{key}.decay_{name}: {decay:g} has no effect, as xi_{name} = 0; allowed: 0, or with a rate")
    return (*((WeightDecay(*decays),) if any(decays) else ()), *parse_terms(section.terms, f"{key}.terms"))


def check_terms(config: Config, stages: Sequence[Stage]) -> None:
    """Checks that stages have the terms that a configuration asks for: what a file keeps of a run is its configuration.

    Raises:
        InputError: If they have others.
    """
    sections = config.training.given if config.training.strategy is None else ()
    for i, (section, stage) in enumerate(zip(sections, stages, strict=False)):
        key = f"training.stages[{i}]" if config.training.stages else "training"
        if stage.terms != _terms(section, stage, key):
            raise InputError(
                f"{key}.terms: the problem has other terms than its configuration, which a restart or a density would not know; "
                "allowed: terms that the configuration names, see mfpde.problem.terms"
            )


def _chen_ge(config: Config, target: Target, numbers: Numbers) -> tuple[StageSection, StageSection]:
    training = config.training
    first, second = training.durations
    copies = target.p if training.strategy_copies is None else training.strategy_copies
    least = max(target.least_degree, 1)
    if training.strategy_degree is None and target.energy is not None:
        raise InputError(
            "training.strategy_degree: not given, and target.function is no polynomial whose degree it could be; allowed: 1 to "
            f"discretization.hermite_degree = {numbers.hermite_degree}"
        )
    degree = least if training.strategy_degree is None else training.strategy_degree
    if not 1 <= copies <= MOST_COPIES:
        raise InputError(f"training.strategy_copies: {copies}; allowed: 1 to {MOST_COPIES}")
    most = numbers.hermite_degree
    if not least <= degree <= most:
        raise InputError(
            f"training.strategy_degree: {degree}; allowed: from {least}, the target's degree, to "
            f"discretization.hermite_degree = {most}"
        )
    return (
        StageSection(first, xi_a=0.0, xi_w=1.0),
        StageSection(second, xi_a=1.0, xi_w=0.0, activation=f"(1 + u)**{degree}", average=copies, reset_a=True),
    )


def spread_start(config: Config) -> bool:
    """Whether w starts with a density, rather than in one point for each label."""
    return config.initial.w != "zero" and config.dimension != inf


def _check_truncation(stage: Stage, config: Config, numbers: Numbers, key: str) -> None:
    """A polynomial activation has finitely many modes, and all of them must be there."""
    degree = stage.degree
    if degree > numbers.hermite_degree:
        raise InputError(
            f"{key}: {stage.activation.text!r} has degree {degree}, and discretization.hermite_degree = "
            f"{numbers.hermite_degree} truncates its modes; allowed: a hermite_degree of at least {degree}"
        )
    if spread_start(config) and degree // 2 > numbers.radial_degree:
        raise InputError(
            f"{key}: {stage.activation.text!r} has degree {degree}, and discretization.radial_degree = "
            f"{numbers.radial_degree} truncates its modes; allowed: a radial_degree of at least {degree // 2}"
        )


def _check_averages(stages: list[Stage], keys: list[str], law: str, a_nodes: int, first: int) -> None:
    """What averages allow; from stage `first` on, the law of w is known by its moments alone."""
    atoms = parse_law(law).atoms
    tuples = a_nodes if atoms is None else len(atoms[0])  # neurons of a point start, so far
    for i, (stage, key) in enumerate(zip(stages, keys, strict=True)):
        if not 1 <= stage.average <= MOST_COPIES:
            raise InputError(f"{key}.average: {stage.average}; allowed: 1 to {MOST_COPIES} copies")
        if stage.average > 1 and not stage.reset_a:
            raise InputError(
                f"{key}.average: copies that keep outer weights of their own cannot be averaged; allowed: with reset_a = true"
            )
        if i < first:
            tuples = comb(tuples + stage.average - 1, stage.average)
            if stage.average > 1 and tuples > MOST_TUPLES:
                raise InputError(
                    f"{key}.average: {stage.average} copies make {tuples} neurons; allowed: at most {MOST_TUPLES}, by fewer "
                    "copies or discretization.a_nodes, or a polynomial activation with xi_w = 0"
                )
        elif not stage.linear:
            of_terms = "decay_a" if any(isinstance(term, WeightDecay) for term in stage.terms) else "terms"
            wrong = "xi_w" if not stage.xi_w.zero else of_terms if stage.terms else "activation"
            wrong = wrong if stage.interaction else "interaction"
            raise InputError(
                f"{key}.{wrong}: of an average of copies the moments alone are known; "
                "allowed from the average on: xi_w = 0 and a polynomial activation, with interaction and without terms"
            )
        elif i > first and not stage.reset_a and stage.activation != stages[i - 1].activation:
            raise InputError(
                f"{key}.activation: outer weights that an average has learned belong to the activation before, "
                f"{stages[i - 1].activation.text!r}; allowed: that one, or reset_a = true"
            )
