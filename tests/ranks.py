"""Commands of the package on two ranks that start once, as two interpreters and their imports take seconds to start.

Run as a program it is these ranks: a line of JSON on standard input says folder, module and arguments of a command, and a line on
standard output what came of it.
"""

import importlib
import json
import os
import select
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import mfpde  # noqa: F401  (before MPI)

RANKS = 2


class Ranks:
    """Two ranks that wait for commands, in an environment of theirs."""

    def __init__(self, environment: dict[str, str]) -> None:
        words = [str(Path(sys.executable).with_name("mpirun")), "-n", str(RANKS), sys.executable, __file__]
        self.environment = environment
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def run(self, folder: Path, module: str, words: list[str], seconds: float) -> tuple[int, str, str]:
        """Exit status, the same on all ranks, output, and errors, in which what each rank says comes by rank.

        Raises:
            TimeoutError: If there is no answer within that time.
            RuntimeError: If the ranks are lost, or end with different statuses.
        """
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([str(folder), module, words]) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], seconds)[0]:
            self.close()
            raise TimeoutError(f"{module} {words}")
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{module} {words}: {process.communicate()[1]}")
        statuses, said, errors = zip(*json.loads(answer), strict=True)
        if len(set(statuses)) > 1:
            raise RuntimeError(f"{module} {words}: {statuses}\n{errors}")
        return statuses[0], "".join(said), "".join(errors)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()


def outcome(folder: str, module: str, words: list[str]) -> tuple[int, str, str]:
    """Collective. What this rank says and ends with."""
    os.chdir(folder)
    sys.argv = [module, *words]
    with redirect_stdout(StringIO()) as said, redirect_stderr(StringIO()) as errors:
        package = importlib.import_module(f"mfpde.{module}")
        main = package if hasattr(package, "main") else importlib.import_module(f"mfpde.{module}.__main__")
        try:
            status = int(main.main())
        except SystemExit as end:
            status = int(end.code or 0)
    return status, said.getvalue(), errors.getvalue()


def serve() -> None:
    """Collective. Runs commands until there are no more."""
    from mpi4py import MPI

    from mfpde.parallel import on_first

    comm, answers = MPI.COMM_WORLD, sys.stdout
    while line := on_first(comm, sys.stdin.readline):
        found = comm.gather(outcome(*json.loads(line)))
        if found is not None:
            print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    serve()
