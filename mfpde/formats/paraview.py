"""The densities of the snapshots for ParaView, `output.paraview`."""

from pathlib import Path

from mfpde.output.protocol import Output, Run, Summary


class Series(Output):
    """Writes NAME_density.pvd and its images beside the result NAME.h5, if that has snapshots."""

    def begin(self, run: Run) -> None:
        self.run, self.result = run, run.result

    def finish(self, summary: Summary) -> Path | None:
        from mfpde.density.paraview import write_series

        if not self.run.config.snapshot_times:
            return None
        return write_series(self.run.comm, self.result)["density"]
