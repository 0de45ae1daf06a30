"""Densities for ParaView: the image of a marginal in time, and the mesh that moves with it."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from mpi4py import MPI
from support import run_to

from mfpde.density.paraview import write_series

SELF = MPI.COMM_SELF


def vtk(path: Path) -> tuple[ElementTree.Element, dict[str, np.ndarray]]:
    """The elements and the arrays of one of VTK's XML files with appended raw data."""
    content = path.read_bytes()
    head, _, rest = content.partition(b'<AppendedData encoding="raw">\n_')
    raw = rest[: rest.rindex(b"\n</AppendedData>")]
    root = ElementTree.fromstring(head + b"</VTKFile>")
    arrays = {}
    for item in root.iter("DataArray"):
        if item.get("format") == "appended":
            offset = int(item.attrib["offset"])
            size = int(np.frombuffer(raw[offset : offset + 8], dtype=np.uint64)[0])
            kind = {"Float64": np.float64, "Int64": np.int64, "UInt8": np.uint8}[item.attrib["type"]]
            arrays[item.attrib["Name"]] = np.frombuffer(raw[offset + 8 : offset + 8 + size], dtype=kind)
    return root, arrays


def test_a_run_writes_its_densities_for_paraview(tmp_path: Path) -> None:
    small = ["target.polynomial=z1", "input.dimension=inf", "training.final_time=0.1", "discretization.a_nodes=3"]
    run_to(tmp_path / "out.h5", *small, "output.paraview=true")
    assert (tmp_path / "out_density.pvd").is_file() and not (tmp_path / "out_mesh.pvd").exists()


@pytest.mark.parametrize("target", ["z1 + z1^2/2", "z1 + z1*z2", "z1 + z1*z2*z3"])
def test_paraview_gets_the_density_in_time_and_the_mesh_that_moves(target: str, tmp_path: Path) -> None:
    """Cells times density is all mass, on the image and, exactly for p <= 2 (straight edges), on the elements."""
    small = ["a_nodes=4", "r_nodes=1", "cells=2", "degree=2"]
    given = [f"target.polynomial={target}", "training.final_time=1", *(f"discretization.{word}" for word in small)]
    path = run_to(tmp_path / "out.h5", *given)
    assert sorted(write_series(SELF, path, mesh=True)) == ["density", "mesh"]
    series = ElementTree.parse(tmp_path / "out_density.pvd").getroot()
    assert [float(item.attrib["timestep"]) for item in series.iter("DataSet")] == [0.0, 1.0]
    root, arrays = vtk(tmp_path / [item.attrib["file"] for item in series.iter("DataSet")][1])
    image = root.find("ImageData")
    assert image is not None and root.find("ImageData/FieldData/DataArray").text == "1"  # type: ignore[union-attr]
    spacing = np.array(image.attrib["Spacing"].split(), dtype=float)
    cells = np.diff(np.array(image.attrib["WholeExtent"].split(), dtype=int).reshape(3, 2))[:, 0]
    assert len(arrays["density"]) == np.prod(np.maximum(cells, 1))
    assert abs(arrays["density"].sum() * spacing.prod() - 1) < 1e-3
    root, arrays = vtk(tmp_path / "out_mesh_0001.vtu")
    points = arrays["Points"].reshape(-1, 3)
    count = len(arrays["density"])
    assert len(arrays["a"]) == len(arrays["r"]) == len(arrays["label"]) == len(arrays["types"]) == count
    corners = points[arrays["connectivity"].reshape(count, -1)]
    if corners.shape[1] == 2:
        volume = np.abs(corners[:, 1, 0] - corners[:, 0, 0])
    elif corners.shape[1] == 4:
        diagonals = corners[:, 2:, :2] - corners[:, :2, :2]
        volume = np.abs(np.linalg.det(diagonals)) / 2
    else:
        return
    assert abs(arrays["density"] @ volume - 1) < 1e-9
