"""What the tests of outputs share: a small run, an output as a user writes it, and what it must hear."""

from pathlib import Path
from typing import Any

import numpy as np

from mfpde.evolution.flow import StageFlow, Step
from mfpde.output.history import open_result, read_columns
from mfpde.output.protocol import Output, Run, Summary

# One neuron for each label, to an accuracy that the first pass reaches.
QUICK: dict[str, Any] = {"dimension": np.inf, "accuracy": 1e-2, "final_time": 1.0, "times": 5, "plot": False}
GIVEN: dict[str, Any] = {**QUICK, "accuracy": False, "a_nodes": 4}
PASS = ["begin", "enter", *["record"] * 5]
TOLD = {"one": [*PASS, "finish 1"], "two": [*PASS, "abandon", *PASS, "finish 1"]}


class Rows(Output):
    """An output as a user writes it: the events, and the times that hold."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.times: list[float] = []
        self.runs: list[Run] = []

    def begin(self, run: Run) -> None:
        self.events.append("begin")
        self.runs.append(run)

    def enter(self, flow: StageFlow) -> None:
        self.events.append("enter")

    def record(self, flow: StageFlow, step: Step, vector: np.ndarray) -> None:
        self.events.append("record")
        self.times.append(step.time)

    def abandon(self) -> None:
        self.events.append("abandon")
        self.times.clear()

    def finish(self, summary: Summary) -> None:
        self.events.append(f"finish {summary.time:g}")


def assert_table_of(stem: str) -> np.ndarray:
    """NAME_history.csv has the rows of /history, bit for bit, and the estimated error where there is one."""
    table = np.genfromtxt(f"{stem}_history.csv", delimiter=",", names=True)
    with open_result(Path(f"{stem}.h5")) as file:
        columns = read_columns(file)
        error = {"error": file["error/estimate"][:]} if "error" in file else {}
    expected = {"t": columns.pop("time"), **columns, **error}
    assert set(table.dtype.names) == set(expected) and table.dtype.names[:2] == ("t", "loss")
    assert all(np.array_equal(table[name], values, equal_nan=True) for name, values in expected.items())
    return table
