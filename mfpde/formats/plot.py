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
        assert self.run.path is not None  # `beside` has refused it
        result = self.run.path
        on_first(self.run.comm, lambda: plot_loss(result, self.picture))
        return self.picture
