"""The output that writes checkpoints into the result file: now and then, and where a run ends."""

import time

from mfpde.evolution.flow import Array, DensityFlow
from mfpde.output import checkpoint
from mfpde.output.protocol import Output, Run
from mfpde.output.recorder import Recorder
from mfpde.petsc import event
from mfpde.training.training import Place


class Checkpoints(Output):
    """Writes the state to /checkpoint, in the place of the one before.

    Args:
        recorder: Recorder of the file, which has been told of the same run before.
        every: Seconds between two of them.
    """

    def __init__(self, recorder: Recorder, every: float) -> None:
        self.recorder, self.every = recorder, every
        self._written = time.monotonic()

    def begin(self, run: Run) -> None:
        self._written = time.monotonic()
        if run.planned is not None:
            self.recorder.file.dataset(f"{checkpoint.GROUP}/course", checkpoint.encoded(run.planned))

    def checkpoint(self, flow: DensityFlow, place: Place, vector: Array, urgent: bool) -> None:
        if not self.recorder.losses:
            return
        if not (urgent or flow.comm.bcast(time.monotonic() - self._written >= self.every)):
            return
        with event("output"):
            checkpoint.write(self.recorder.file, flow, place, vector, self.recorder.entropy, self.recorder.numbers())
            self.recorder.file.publish()
        self._written = time.monotonic()
