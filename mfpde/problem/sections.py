"""The sections of a configuration, their defaults, which are the shipped example (examples/staircase.toml), and ranges."""

import json
from itertools import accumulate, pairwise, takewhile
from typing import Annotated, Any, Literal

import msgspec
import numpy as np


def _within[Number: (int, float)](low: Number, high: Number, note: str = "") -> msgspec.Meta:
    """A range, and its words for messages."""
    return msgspec.Meta(ge=low, le=high, description=f"{_number(low)} to {_number(high)}{note}")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


# Beyond it, d - p and d are the same number, and so are d and inf but for the time that w takes to leave 0.
LARGEST_DIMENSION = 1e20
# A record costs up to half a millisecond, and within the steps, which are far fewer, the curves are smooth.
MOST_TIMES, MOST_PARTICLES = 100_000, 2**24
# Copies of a neuron that are averaged.
MOST_COPIES = 6
# Points of a net.
MOST_POINTS = 2**22
# Largest Hermite degree.
LARGEST_K = 60
Duration = Annotated[float, _within(1e-12, 1e12)]
Rate = Annotated[
    float | str | tuple[tuple[float, float], ...],
    msgspec.Meta(description="a number, an expression in t, or a table [[0, value], [t, value], ...]"),
]


Decay = Annotated[float, _within(0.0, 1e6)]
Terms = Annotated[tuple[str, ...], msgspec.Meta(description='a list of texts, such as ["weight_decay(0.1)"]')]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class TargetSection(_Section, frozen=True):
    """The target h*.

    Attributes:
        polynomial: In z1..z8.
        function: Instead of it, any expression in z1..z3, such as "sign(z1)" or a teacher network "tanh(z1 + z2) - relu(z2)". Its
            energy beyond the largest Hermite degree of the run is part of the loss, and stated.
        subspace_dimension: p, if larger than the largest index.
    """

    polynomial: str = "z1 + z1*z2"
    function: str | None = None
    subspace_dimension: Annotated[int, msgspec.Meta(description="an integer, p or more")] | None = None


class Network(_Section, frozen=True):
    activation: str = "tanh(u + 0.5)"


class Input(_Section, frozen=True):
    dimension: Annotated[
        int | float | Literal["inf"], msgspec.Meta(description=f"a positive integer up to {LARGEST_DIMENSION:g}, or 'inf'")
    ] = 10000


class Initial(_Section, frozen=True):
    """The law of the neurons at t = 0.

    Attributes:
        a: Of the outer weights: a module of `mfpde.problem.laws` with its parameters, such as "uniform(-1, 1)".
        w: Of the inner weights: N(0, I/d) ("gaussian"), uniform on |w| = 1 ("sphere"), or 0 ("zero").
        b: Of the biases, sigma(w.x + b), alike; without it there are none.
    """

    a: str = "uniform(-1, 1)"
    w: Literal["gaussian", "sphere", "zero"] = "gaussian"
    b: str | None = None


class StageSection(_Section, frozen=True):
    """One stage of a training in several stages.

    Attributes:
        duration: How long it lasts.
        xi_a, xi_w, xi_b: Learning rates: numbers, expressions in t, or tables [[0, value], [t, value], ...] of a rate that is
            constant from each t on; t counts from the start of the stage. xi_b, of the biases, is xi_w if not given.
        activation: Of this stage; the network's if not given.
        average: At its start, w becomes the average of this many independent copies.
        reset_a: Whether the outer weights start at 0 again.
        interaction: Whether neurons see the output of the others (square loss); false: correlation loss -E f h*, whose
            residual is -h*. E is recorded all the same, and E f h* as /history/correlation.
        decay_a, decay_w, decay_b: Weight decay, a' = .. - xi_a decay_a a, w' = .. - xi_w decay_w w, and b alike; E with the
            penalty 1/2 decay_a E a^2 + 1/2 decay_w E |w|^2 + 1/2 decay_b E b^2 is recorded as /history/regularised_loss.
        terms: Further terms of the velocity by name, see `mfpde.problem.terms`; "weight_decay(l_a, l_w, l_b)" is that of the
            three keys.
    """

    duration: Duration
    xi_a: Rate = 0.0
    xi_w: Rate = 0.0
    xi_b: Rate | None = None
    activation: str | None = None
    average: Annotated[int, _within(1, MOST_COPIES)] = 1
    reset_a: bool = False
    interaction: bool = True
    decay_a: Decay = 0.0
    decay_w: Decay = 0.0
    decay_b: Decay = 0.0
    terms: Terms = ()


class Training(_Section, frozen=True):
    """How the network is trained: at once, in stages, or by a strategy that expands to stages.

    Attributes:
        final_time: Of a training at once; of the stage that trains w in a strategy.
        xi_a, xi_w, xi_b: Learning rates of a training at once; that of the biases is xi_w if not given, as in a framework in
            which all parameters of a layer have one rate.
        constraint: "sphere": w moves on |w| = 1, by the projected gradient; it starts there, initial.w = "sphere". b is free.
        interaction, decay_a, decay_w, decay_b, terms: Likewise, see `StageSection`.
        stages: Instead of these.
        strategy: "chen-ge": train w, average independent copies, train a with a polynomial activation.
        strategy_copies: How many copies; p if not given.
        strategy_degree: n of the activation (1 + u)^n; the target's degree if not given.
        strategy_time: Duration of the stage that trains a.
    """

    final_time: Duration = 8.0
    xi_a: Rate = 1.0
    xi_w: Rate = 1.0
    xi_b: Rate | None = None
    interaction: bool = True
    decay_a: Decay = 0.0
    decay_w: Decay = 0.0
    decay_b: Decay = 0.0
    terms: Terms = ()
    constraint: Literal["sphere"] | None = None
    stages: tuple[StageSection, ...] = ()
    strategy: Literal["chen-ge"] | None = None
    strategy_copies: int | None = None
    strategy_degree: int | None = None
    strategy_time: Duration | None = None  # STRATEGY_TIME, once there is a strategy

    @property
    def given(self) -> tuple[StageSection, ...]:
        """The stages as they are given; a training at once is one. (A strategy makes its own.)"""
        return self.stages or (StageSection(self.final_time, **{key: getattr(self, key) for key in SHARED}),)

    @property
    def durations(self) -> tuple[float, ...]:
        """Of the stages."""
        if self.stages:
            return tuple(float(stage.duration) for stage in self.stages)
        if self.strategy is not None:
            return self.final_time, STRATEGY_TIME if self.strategy_time is None else self.strategy_time
        return (self.final_time,)

    @property
    def density_time(self) -> float:
        """When copies are averaged for the first time: until then there is a density to take snapshots of."""
        stages = self.stages if self.strategy is None else (StageSection(self.final_time), StageSection(1.0, average=2))
        before = takewhile(lambda stage: stage.average == 1, stages)
        return sum(stage.duration for stage in before) if stages else self.final_time


class Discretization(_Section, frozen=True):
    """How the density is resolved.  What is left out (None; for a_nodes, r_nodes, b_nodes and cells also 0) is chosen: by the
    run, so that `accuracy` is reached, or with accuracy = false and in the affine frame from p and d (`mfpde.problem.defaults`).

    Attributes:
        frame: What carries the density, a name of `mfpde.discretisations`: finite elements whose nodes move with the neurons
            ("flow"), or a fixed mesh in an affine frame a slice, with transport ("affine").
        accuracy: Wanted error of E(t) over the whole run, in units of E h*^2 / 2; False: take the resolution as it is, and
            estimate nothing. Of the flow frame. 0 with `relative_accuracy`, unless it is given.
        relative_accuracy: Wanted error of E(t) in units of E(t), at every record, down to E = 1e-12 of E h*^2 / 2; beside
            `accuracy` whichever allows more at a record. False: none.
        features: The basis of functions of x that a network is expanded in, a module of `mfpde.features.bases`.
        nodes: Of the flow frame: panels in every direction of the initial law ("panels"), a scrambled Sobol' net of all of them
            ("net"), or to an accuracy what costs less ("auto"; without one, panels).
        net_points: Points of the net, a power of two; with atoms, for each combination of them.
        hermite_degree: K, the largest total degree of a mode.
        radial_degree: Largest j.
        a_nodes, a_panels: Labels of a_0, and the panels of equal probability that they are divided into.
        r_nodes: Labels of r_0.
        b_nodes, b_panels: Labels of b_0, as those of a_0, with initial.b.
        cells: Cells of the reference mesh in each direction.
        degree: Of the discontinuous finite elements.
        core_width: Of the flow frame: the outermost finite edge of the cells, in standard deviations of the initial law.
        half_width: Of the affine frame: that of the reference box, likewise.
        grading: How much finer the cells are at y = 0 than outside (0: uniform; cosh(grading) times finer).
        limiter: Of the affine frame: when q is made non-negative: in what is written ("output"), or after every step ("step").
        tolerance: Error of one time step, absolute and relative.
        mesh: Of the affine frame: a mesh file instead of the box.
    """

    frame: str = "flow"
    accuracy: Annotated[float, msgspec.Meta(ge=0, le=0.1, description="1e-13 to 0.1")] | Literal[False] = 1e-4
    relative_accuracy: Annotated[float, _within(1e-6, 0.1)] | Literal[False] = False
    features: str = "hermite"
    nodes: Literal["auto", "panels", "net"] = "auto"
    net_points: Annotated[int, _within(1, MOST_POINTS)] | None = None
    hermite_degree: Annotated[int, _within(1, LARGEST_K)] | None = None
    radial_degree: Annotated[int, _within(0, LARGEST_K // 2)] | None = None
    a_nodes: Annotated[int, _within(0, 1024)] | None = None
    a_panels: Annotated[int, _within(1, 512)] | None = None
    r_nodes: Annotated[int, _within(0, 64)] | None = None
    b_nodes: Annotated[int, _within(0, 1024)] | None = None
    b_panels: Annotated[int, _within(1, 512)] | None = None
    cells: Annotated[int, _within(0, 4096)] | None = None
    degree: Annotated[int, _within(0, 15)] | None = None
    core_width: Annotated[float, _within(0.01, 10.0)] | None = None
    half_width: Annotated[float, _within(1.0, 20.0)] = 10.0
    grading: Annotated[float, _within(0.0, 10.0)] | None = None
    limiter: Literal["output", "step"] = "output"
    tolerance: Annotated[float, _within(1e-14, 1e-1)] | None = None
    mesh: str | None = None


class Parallel(_Section, frozen=True):
    mesh_ranks: Annotated[int, msgspec.Meta(ge=0, description="0 (automatic) or a divisor of the number of ranks")] = 0


class Particles(_Section, frozen=True):
    """The particle references of `python -m mfpde.particles`.

    Attributes:
        method: Neurons (a, v, r) in the Hermite modes, N neurons in R^d with the population gradient, or online SGD.
        sampling: Of the initial law: independent, scrambled Sobol' points, or Gauss nodes (the last two: "reduced" only).
        particles: N; with Gauss nodes about as many.
        seed: Of all random numbers.
        repeats: Independent runs, whose mean and confidence band are written.
        batch, step: Samples of one SGD step, and its length in time.
        label_noise: Standard deviation of the noise in the labels of SGD. The constant that it adds to the risk,
            label_noise^2 / 2, is not in E.
    """

    method: Literal["reduced", "network", "sgd"] = "reduced"
    sampling: Literal["random", "sobol", "gauss"] = "random"
    particles: Annotated[int, _within(1, MOST_PARTICLES)] = 4096
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1, description="an integer from 0 to 2^63 - 1")] = 0
    repeats: Annotated[int, _within(1, 10_000)] = 1
    batch: Annotated[int, _within(1, 2**24)] = 100
    step: Annotated[float, _within(1e-9, 1.0)] = 0.01
    label_noise: Annotated[float, _within(0.0, 1e6)] = 0.0


class Output(_Section, frozen=True):
    """What is written.

    Attributes:
        file: The HDF5 file; the configuration file's stem if not given.
        times: Number of equally spaced records of each stage, or a list of times.
        snapshots: Number of equally spaced snapshots of the density, or a list of times.
        paraview: Whether the densities of the snapshots are also written for ParaView, as a series of images.
        plot: Whether the loss is plotted beside the file at the end.
        also: Names of further outputs, such as "csv": the modules of `mfpde.formats`.
        width: Whether what networks of N neurons do is computed besides, see `mfpde.width`.
        checkpoint: Seconds of wall time between checkpoints, from which a run can go on; False: none, also at the end.
    """

    file: str = "staircase.h5"
    times: Annotated[int, msgspec.Meta(ge=2, le=MOST_TIMES)] | list[float] = 81
    snapshots: Annotated[int, msgspec.Meta(ge=0, le=MOST_TIMES)] | list[float] = 2
    paraview: bool = False
    plot: bool = True
    also: Annotated[tuple[str, ...], msgspec.Meta(description='a list of outputs, such as ["csv"]')] = ()
    width: bool = False
    checkpoint: Annotated[float, _within(0.0, 1e9)] | Literal[False] = 600.0


class Config(_Section, frozen=True):
    """One run's configuration; `parameters` are named constants, see `mfpde.problem.parameters`."""

    parameters: dict[str, float | int | str] = {}
    target: TargetSection = TargetSection()
    network: Network = Network()
    input: Input = Input()
    initial: Initial = Initial()
    training: Training = Training()
    discretization: Discretization = Discretization()
    parallel: Parallel = Parallel()
    particles: Particles = Particles()
    output: Output = Output()

    def to_toml(self) -> str:
        """The whole configuration, defaults included, as TOML text."""
        lines = ["[parameters]", *_pairs(self.parameters)] if self.parameters else []
        for name, section in msgspec.structs.asdict(self).items():
            if not isinstance(section, _Section):
                continue
            lines.append(f"[{name}]")
            values = msgspec.structs.asdict(section)
            stages = values.pop("stages", ())
            chosen = next((key for key in REPLACED if values.get(key) or (key == "stages" and stages)), None)
            replaced = REPLACED[chosen] if chosen else ()
            lines += _pairs({key: value for key, value in values.items() if key not in replaced})
            for stage in stages:
                lines += [f"[[{name}.stages]]", *_pairs(msgspec.structs.asdict(stage))]
        return "\n".join(lines) + "\n"

    @property
    def dimension(self) -> float:
        """d, an integer or inf."""
        return float(self.input.dimension)

    @property
    def final_time(self) -> float:
        """End of the last stage."""
        return sum(self.training.durations)

    @property
    def record_times(self) -> list[float]:
        """Times of the records, ascending: a number of them is for each stage."""
        ends = [0.0, *accumulate(self.training.durations)]
        return sorted({min(t, ends[-1]) for start, end in pairwise(ends) for t in _times(self.output.times, start, end)})

    @property
    def history_times(self) -> list[float]:
        """Those and the snapshots' times, ascending."""
        return sorted({*self.record_times, *self.snapshot_times})

    @property
    def snapshot_times(self) -> list[float]:
        """Times of the density snapshots, ascending."""
        return [min(t, self.final_time) for t in _times(self.output.snapshots, 0.0, self.training.density_time)]


def _times(value: int | list[float], start: float, end: float) -> list[float]:
    if not isinstance(value, int):
        return [float(t) for t in value]
    return [end] if value == 1 else np.linspace(start, end, value).tolist()


def _pairs(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(x) for x in value) + "]"
    return repr(value)


# What training a alone needs: it is slow, and as it is linear, a long time costs little.
STRATEGY_TIME = 1000.0
# Keys that a training at once has in common with a stage.
SHARED = ("xi_a", "xi_w", "xi_b", "interaction", "decay_a", "decay_w", "decay_b", "terms")
# Keys of a section that stages, or a strategy, or a function take the place of.
REPLACED: dict[str, tuple[str, ...]] = {
    "function": ("polynomial",),
    "stages": ("final_time", *SHARED, "strategy", "strategy_copies", "strategy_degree", "strategy_time"),
    "strategy": SHARED,
}
