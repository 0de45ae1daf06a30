"""The affine frame as a discretisation: what it can solve, its start, and what its files hold."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI

from mfpde.affine.flow import AffineFlow, State
from mfpde.affine.recorded import FrameSnapshots
from mfpde.affine.slices import affine_slices
from mfpde.discretisation.mesh import mesh_refusal
from mfpde.discretisation.protocol import Direction
from mfpde.discretisation.resolution import Resolution, make_labels
from mfpde.errors import InputError
from mfpde.features.bases import basis_of
from mfpde.memory import check_memory
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization

# Polynomials of the discontinuous space.
DEGREES = (1, 7)


@dataclass(frozen=True)
class AffineFrame:
    """A `Discretisation`."""

    name: str = "affine"
    estimates: bool = False

    def refusal(self, problem: Problem, options: Discretization) -> str | None:
        if problem.b is not None:
            return 'discretization.frame: "affine" has no biases; allowed with initial.b: "flow"'
        if problem.w.name == "sphere":
            return 'discretization.frame: "affine" starts from a Gaussian; allowed with initial.w = "sphere": "flow"'
        least, most = DEGREES
        if options.degree is not None and not least <= options.degree <= most:
            return f'discretization.degree: {options.degree}; allowed in the "affine" frame: {least} to {most}'
        return mesh_refusal(problem)

    def directions(self, problem: Problem) -> dict[str, Direction]:
        return {}

    def start(
        self, comm: MPI.Intracomm, problem: Problem, options: Discretization, resolution: Resolution, mesh_ranks: int = 0
    ) -> AffineFlow:
        check_memory(comm, resolution.nodes, 3)
        slices, p = affine_slices(comm, problem, options, make_labels(problem, resolution), mesh_ranks), problem.p
        features = basis_of(problem, resolution).features(comm, problem)
        here = slices.labels.nodes[slices.grid.slices.start : slices.grid.slices.stop]
        q = np.exp(-0.5 * (slices.y**2).sum(axis=0))
        q /= slices.grid.mesh_comm.allreduce(float((slices.weight * q).sum()))
        shape = (len(here), *q.shape)
        state = State(
            q=np.broadcast_to(q, shape).copy(),
            a=np.broadcast_to(here[:, 0, None, None], shape).copy(),
            r=np.broadcast_to(here[:, 1, None, None], shape).copy(),
            M=np.zeros((len(here), p)),
            Lambda=np.broadcast_to(np.eye(p), (len(here), p, p)).copy(),
        )
        return AffineFlow(problem, options, slices, features, state)

    def read(self, file: h5py.File, problem: Problem) -> FrameSnapshots:
        if "slices/snapshots" not in file or "slices/L" not in file:
            raise InputError(f"{file.filename!r} holds no snapshots of the affine frame")
        snapshots = file["slices/snapshots"]
        times = tuple(float(snapshots[name]["time"][()]) for name in sorted(snapshots))
        return FrameSnapshots(Path(file.filename), problem.p, times)
