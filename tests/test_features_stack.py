"""Compiled code whose arrays are as long as there are modes: they do not lie on the stack."""

import resource
import subprocess
import sys

import pytest
from support import clean_environment

# Bytes: enough for an interpreter. The vectors of the modes below fill 5 or 9 MB, by their width, and 0.9 MB in AVERAGES.
STACK = 2**19
KERNELS = """
import numpy as np
from mpi4py import MPI
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.neurons import Cloud, LearningRates, Rates
from mfpde.features.hermite.modes import hermite_modes
from mfpde.problem.activation import parse_activation

features = HermiteFeatures(MPI.COMM_SELF, hermite_modes(3, 46, 2, 50.0), parse_activation("tanh"), biases=BIASES)
n, b = 5, np.linspace(-1, 1, 5) if BIASES else None
cloud = Cloud.of(np.ones(n), np.full((3, n), 0.1), np.full(n, 0.3), np.ones(n), b)
moments = features.moments(cloud, np.ones(1)).all
out = Rates(np.empty((1, n)), np.empty((1, 3, n)), np.empty((1, n)), np.empty((1, n)) if BIASES else None)
features.velocities(cloud, moments, LearningRates(1.0, 1.0, 1.0), out)
divergence = np.empty((1, n))
features.divergence(cloud, moments, LearningRates(1.0, 1.0, 1.0), divergence)
assert all(np.isfinite(x).all() for x in (moments, out.v, divergence))
print(len(features.modes))
"""
AVERAGES = """
import numpy as np
from mpi4py import MPI
from mfpde.neurons import Nodes
from mfpde.moments.averaging import law_moments

nodes = Nodes(np.zeros(2), np.full((3, 2), 0.5), np.ones(2), np.full(2, 0.5))
moments = law_moments(MPI.COMM_SELF, nodes, 10.0, 42)
assert moments.values[(1, 0, 0), 3] == 0.5
print(len(moments.values))
"""


@pytest.mark.parametrize("program", [KERNELS.replace("BIASES", "False"), KERNELS.replace("BIASES", "True"), AVERAGES])
def test_many_modes_need_no_large_stack(program: str) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    done = subprocess.run(
        [sys.executable, "-c", program], preexec_fn=limit, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert int(done.stdout) > 20_000
