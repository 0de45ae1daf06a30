"""What every result file says of its run: of the elements, and of particles."""

from mfpde.features.protocol import Basis
from mfpde.output.sink import Sink
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.version import __version__


def describe(file: Sink, problem: Problem, modes: Basis, config: Config) -> None:
    """Collective. Writes the configuration, the modes (alpha, j) of the coefficients, and the target's h_i over them."""
    file.attributes(
        {
            "version": __version__,
            "config": config.to_toml(),
            "dimension": problem.d,
            "polynomial": problem.target.polynomial,
            "activation": problem.stages[0].activation.text,
        }
    )
    file.dataset("/modes/alpha", modes.alpha)
    file.dataset("/modes/radial", modes.radial)
    file.attributes({"hermite_degree": modes.hermite_degree, "radial_degree": int(modes.radial.max(initial=0))}, "/modes")
    file.dataset("/target/coefficients", modes.target_coefficients(problem.target))
    if problem.target.energy is not None:
        beyond = modes.beyond(problem.target)
        file.attributes({"energy": problem.target.energy, "beyond": beyond}, "/target")
