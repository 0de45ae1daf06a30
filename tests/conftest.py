"""Under mpirun, rank 0 alone reports, and a failure on any rank ends the run on all of them."""

import sys
import time

import mfpde  # noqa: F401  (before numpy loads, and MPI: what it sets in the environment is for them)

# isort: split
import pytest
from mpi4py import MPI

from mfpde.interrupts import FORWARDED

COMM = MPI.COMM_WORLD


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if COMM.rank > 0:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            config.pluginmanager.unregister(reporter)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):  # type: ignore[no-untyped-def]
    outcome = yield
    report = outcome.get_result()
    # The others may be waiting for this rank in a collective call: only an abort reaches them.
    if report.failed and COMM.size > 1:
        print(f"rank {COMM.rank}: {item.nodeid}\n{report.longreprtext}", file=sys.stderr, flush=True)
        time.sleep(FORWARDED)
        COMM.Abort(1)
