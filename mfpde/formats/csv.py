"""The records as a table: t, E, its estimated error and every other scalar of /history, separated by commas."""

from pathlib import Path

from mfpde.errors import InputError
from mfpde.output.history import loss_error, open_result, read_columns
from mfpde.output.protocol import Output, Run, Summary
from mfpde.parallel import on_first
from mfpde.paths import check_place


class Csv(Output):
    """Writes NAME_history.csv beside the result NAME.h5, with the digits of a double."""

    def begin(self, run: Run) -> None:
        self.run, self.table = run, run.beside("_history.csv")
        on_first(run.comm, lambda: check_place(self.table, "output.also"))

    def finish(self, summary: Summary) -> Path:
        return on_first(self.run.comm, self._write)

    def _write(self) -> Path:
        with open_result(self.run.result) as result:
            found, error = read_columns(result), loss_error(result)
        first = {"t": found.pop("time"), "loss": found.pop("loss"), **({} if error is None else {"error": error[0]})}
        columns = {**first, **found}
        try:
            with self.table.open("w") as file:
                print(*columns, sep=",", file=file)
                for row in zip(*(column.tolist() for column in columns.values()), strict=True):
                    print(*row, sep=",", file=file)
        except OSError as reason:
            text = f"output.also: cannot write {str(self.table)!r}: {reason.strerror}; allowed: a place with enough room"
            raise InputError(text) from None
        return self.table
