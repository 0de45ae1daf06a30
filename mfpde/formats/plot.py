"""The picture of E(t) with the band of its error, `output.plot`."""

from pathlib import Path

from mfpde.output.plot import plot_loss
from mfpde.output.protocol import Output, Run, Summary
from mfpde.parallel import on_first


class LossPlot(Output):
    """Draws NAME_loss.png beside the result NAME.h5."""

    def begin(self, run: Run) -> None:
        self.run, self.picture = run, run.beside("_loss.png")

    def finish(self, summary: Summary) -> Path:
        return on_first(self.run.comm, lambda: plot_loss(self.run.result, self.picture))
