"""Problems that nobody has tuned on: configurations drawn from a seed over the whole space of the configuration."""

from math import inf
from typing import Any

import numpy as np

ACTIVATIONS = (
    *("tanh(u + 0.5)", "tanh(u + 0.3)", "relu", "relu(u - 0.4)", "leaky_relu", "gelu", "erf(u + 0.4)", "sigmoid", "softplus"),
    *("sin(u + 0.3)", "cos(u) + u/2", "exp(-u**2) + u", "abs(u + 0.2)", "u + u**2/2", "quadratic", "u + (u**3 - 3*u)/6"),
    *("u/(1 + exp(-u))", "1/(1 + u**2)", "tanh(2*u) + 0.2"),
)
CONTINUOUS = ("uniform(-1, 1)", "uniform(0, 1.5)", "normal(0, 1)", "normal(0.5, 0.7)")
ATOMS = ("rademacher", "point(1)", "point(0)", "points(-1: 0.3, 0.5: 0.4, 2: 0.3)")
BIASES = ("uniform(-1, 1)", "normal(0, 0.5)", "point(0.3)", "points(-0.5: 0.5, 0.7: 0.5)")
FUNCTIONS = {
    1: ("sign(z1)", "tanh(2*z1)", "abs(z1) - 0.5", "relu(z1 - 0.3)", "exp(-z1**2)", "sin(2*z1)"),
    2: ("tanh(z1 + z2)", "relu(z1) - 0.5*relu(z2 + 0.5)", "sin(z1)*z2", "erf(z1 - z2) + z1*z2/2", "sign(z1) + z2"),
}
DIMENSIONS = (*range(2, 11), 15, 30, 60, 100, 300, 1e3, 1e4, 1e6, 1e8, 1e10)
SCHEDULES = (
    *("1/(1 + t/5)", "exp(-t/20)", "1 + 0.5*sin(t)", "where(t < 3, 1, 0.2)", "exp(-(t - 2)**2)", "1/(1 + exp(2*(2 - t)))"),
    *("min(t, 1)", [[0, 1.0], [1.5, 0.3], [4, 0.7]], [[0, 0.2], [2, 1.0]]),
)


class Draw:
    """The draw of one problem.

    Args:
        seed, number: What it is drawn from.
    """

    def __init__(self, seed: int, number: int) -> None:
        self.rng = np.random.default_rng([seed, number])
        self.p = int(self.rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15]))
        self.d: float = inf if self._happens(0.3) else float(self._one([d for d in DIMENSIONS if d > self.p]))

    def config(self) -> dict[str, Any]:
        """The configuration, as sections of plain values, without its accuracy."""
        # Correlation loss has no equilibrium, and steep polynomials may blow up: these are short.
        free = self._happens(0.06)
        final = round(float(np.exp(self.rng.uniform(np.log(4), np.log(8 if free else 1000)))), 2)
        training = self._training(final)
        if free and "stages" not in training:
            training["interaction"] = False
        initial = {"a": self._one(CONTINUOUS if self._happens(0.55) else ATOMS), "w": "gaussian"}
        if self._happens(0.2):
            initial["w"] = "sphere"
            if self._happens(0.5) and "stages" not in training:
                training = {key: value for key, value in training.items() if key != "decay_w"} | {"constraint": "sphere"}
        elif self._happens(0.05):
            initial["w"] = "zero"
        if self._happens(0.2):
            initial["b"] = self._one(BIASES)
        activation = self._one(ACTIVATIONS)
        return {
            "target": self._target(),
            "network": {"activation": activation},
            "input": {"dimension": "inf" if self.d == inf else int(self.d)},
            "initial": initial,
            "training": training,
            "output": {"times": self._times(final) if "stages" not in training else int(self.rng.integers(3, 60))},
        }

    def _happens(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def _one(self, of: Any) -> Any:
        return of[int(self.rng.integers(len(of)))]

    def _target(self) -> dict[str, Any]:
        if self.p in FUNCTIONS and self._happens(0.15):
            return {"function": self._one(FUNCTIONS[self.p])}
        degree = int(self.rng.integers(max(1, self.p - 1), 5))
        terms = []
        for number in range(int(self.rng.integers(1, 4))):
            powers = self.rng.multinomial(int(self.rng.integers(1, degree + 1)), np.ones(self.p) / self.p)
            if number == 0:  # the largest index occurs
                powers = np.roll(powers, self.p - 1 - int(np.flatnonzero(powers)[-1]))
            c = round(float(self.rng.uniform(0.2, 1.0) * self.rng.choice([-1, 1])), 2)
            factors = [f"z{q + 1}" + (f"**{n}" if n > 1 else "") for q, n in enumerate(powers) if n]
            terms.append("*".join([str(c), *factors]))
        constant = [str(round(float(self.rng.uniform(-0.8, 0.8)), 2))] if self._happens(0.15) else []
        return {"polynomial": " + ".join([*terms, *constant]), "subspace_dimension": self.p}

    def _rate(self) -> Any:
        return self._one(SCHEDULES) if self._happens(0.25) else float(self._one([0.3, 1.0, 1.0, 2.0]))

    def _training(self, final: float) -> dict[str, Any]:
        if self._happens(0.12):
            return {"stages": self._stages(final)}
        xi_a = 0.0 if self._happens(0.15) else self._rate()
        decay = {}
        if self._happens(0.12):
            keys = ("decay_a", "decay_w") if xi_a else ("decay_w",)
            decay = {key: float(self._one([0.01, 0.1])) for key in keys if self._happens(0.7)}
        return {"final_time": final, "xi_a": xi_a, "xi_w": self._rate(), **decay}

    def _stages(self, final: float) -> list[dict[str, Any]]:
        share = float(self.rng.uniform(0.2, 0.8))
        first = {"duration": round(share * final, 2), "xi_a": self._rate(), "xi_w": self._rate()}
        second: dict[str, Any] = {"duration": round((1 - share) * final, 2), "xi_a": self._rate(), "xi_w": self._rate()}
        if self._happens(0.4):
            second |= {"xi_w": 0.0, "reset_a": True}
            if self._happens(0.5):
                second["activation"] = self._one(ACTIVATIONS)
        return [first, second]

    def _times(self, final: float) -> Any:
        count = round(float(np.exp(self.rng.uniform(np.log(3), np.log(500)))))
        if count < 30 and self._happens(0.3):
            return sorted({round(float(t), 3) for t in self.rng.uniform(0, final, count)} | {final})
        return count
