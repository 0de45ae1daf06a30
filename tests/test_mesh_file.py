"""Mesh files: what is wrong with them is found before the solver sees them."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from mfpde.affine.mesh_file import ORDER, read_mesh_file
from mfpde.errors import InputError

TYPES = ("", "Polyline", "Quadrilateral", "Hexahedron")


def box(p: int, cells: int = 5, half_width: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, p), and cells in XDMF's order (cells, 2^p), of a box about 0."""
    n = cells + 1
    x = np.stack(np.meshgrid(*[np.linspace(-half_width, half_width, n)] * p, indexing="ij"), axis=-1).reshape(-1, p)
    low = np.stack(np.meshgrid(*[np.arange(cells)] * p, indexing="ij"), axis=-1).reshape(-1, p)
    step = n ** np.arange(p)[::-1]
    bits = (np.arange(2**p)[:, None] >> np.arange(p)) & 1
    corners = (low[:, None] + bits) @ step
    return x, corners[:, ORDER[p]]  # the order is its own inverse


def write(path: Path, x: np.ndarray, cells: np.ndarray, kind: str = "", hdf: bool = False, name: str = "mesh") -> Path:
    p = x.shape[1]
    x = np.pad(x, ((0, 0), (0, max(2 - p, 0))))
    arrays = {"x": x, "cells": cells}
    if hdf:
        with h5py.File(path.with_suffix(".h5"), "w") as file:
            for key, array in arrays.items():
                file.create_dataset(key, data=array, compression="gzip")
    form, text = ("HDF", {k: f"{path.stem}.h5:/{k}" for k in arrays}) if hdf else ("XML", {})
    text = text or {k: " ".join(map(repr, a.ravel().tolist())) for k, a in arrays.items()}
    geometry = {2: "XY", 3: "XYZ"}[x.shape[1]]
    path.write_text(
        f'<Xdmf Version="3.0"><Domain><Grid Name="{name}"><Geometry GeometryType="{geometry}"><DataItem Dimensions="{len(x)} '
        f'{x.shape[1]}" Format="{form}">{text["x"]}</DataItem></Geometry><Topology TopologyType="{kind or TYPES[p]}" '
        f'NumberOfElements="{len(cells)}" NodesPerElement="{cells.shape[1]}"><DataItem Dimensions="{len(cells)} '
        f'{cells.shape[1]}" Format="{form}">{text["cells"]}</DataItem></Topology></Grid></Domain></Xdmf>'
    )
    return path


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("hdf", [False, True])
def test_a_sound_mesh_is_read_whatever_its_numbering(p: int, hdf: bool, tmp_path: Path) -> None:
    x, cells = box(p)
    rng = np.random.default_rng(p)
    inside = np.abs(x).max(axis=1) < 8
    x[inside] += rng.uniform(-0.3, 0.3, (inside.sum(), p))
    number = rng.permutation(len(x))
    mirrored = cells[:, [1, 0] if p == 1 else [3, 2, 1, 0, *range(7, 3, -1)][: 2**p]]
    shuffled = np.where(rng.random(len(cells))[:, None] < 0.5, cells, mirrored)
    found = read_mesh_file(write(tmp_path / "a.xdmf", x[np.argsort(number)], number[shuffled], hdf=hdf, name="Grid"), p)
    assert found.advice == "" and len(found.cells) == 5**p
    assert np.allclose(np.sort(found.x[found.cells].mean(axis=1), axis=0), np.sort(x[cells].mean(axis=1), axis=0))


def faults(p: int) -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    """Meshes that are no good, and a word of what is said."""
    x, cells = box(p)
    n = len(cells)
    nan, flat, negative, large, torn = (x.copy() for _ in range(5))
    nan[3, 0] = np.nan
    flat[cells[n // 2, 0]] = x[cells[n // 2, 1]]
    negative_cells, large_cells = cells.copy(), cells.copy()
    negative_cells[1, 0], large_cells[1, 0] = -1, len(x)
    inside = np.argmin(np.abs(x - x[cells[n // 2, 0]]).sum(axis=1))
    torn[inside] += 1.7 * (x[cells[n // 2]].mean(axis=0) - x[inside]) * (3 if p == 1 else 2)
    apart = np.arange(cells.size).reshape(cells.shape)
    far, fars = box(p, 2)
    small, smalls = box(p, 4, 2.0)
    return {
        "nan": (nan, cells, "finite"),
        "degenerate": (flat, cells, "degenerate"),
        "negative": (negative, negative_cells, "vertices"),
        "large": (large, large_cells, "vertices"),
        "folded": (torn, cells, "folded"),
        "apart": (x[cells].reshape(-1, p), apart, "conform"),
        "twice": (x, np.concatenate((cells, cells[:1])), "overlap"),
        "unconnected": (np.concatenate((x, far + 40)), np.concatenate((cells, fars + len(x))), "connected"),
        "over": (np.concatenate((x, far + 0.77)), np.concatenate((cells, fars + len(x))), "overlap"),
        "far": (x + 100, cells, "initial law"),
        "small": (small, smalls, "initial law"),
        "none": (x, cells[:0], "no cells"),
    }


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("name", faults(1))
def test_a_bad_mesh_is_refused_with_its_reason(p: int, name: str, tmp_path: Path) -> None:
    x, cells, word = faults(p)[name]
    with pytest.raises(InputError, match=f"discretization.mesh.*{word}") as caught:
        read_mesh_file(write(tmp_path / "a.xdmf", x, cells), p)
    assert "\n" not in str(caught.value)


def test_hanging_nodes_and_overlaps_that_share_no_facet_are_found(tmp_path: Path) -> None:
    """Two cells beside one; a strip that winds round into itself."""
    x = np.array([[-8, -8], [0, -8], [8, -8], [0, 0], [8, 0], [-8, 8], [0, 8], [8, 8.0]])
    hanging = np.array([[0, 1, 6, 5], [1, 2, 4, 3], [3, 4, 7, 6]])
    with pytest.raises(InputError, match="conform"):
        read_mesh_file(write(tmp_path / "hanging.xdmf", x, hanging), 2)
    angles = np.linspace(0, 2.2 * np.pi, 23)
    ring = np.concatenate([r * np.stack((np.cos(angles), np.sin(angles)), axis=1) for r in (3.0, 9.0)])
    cells = np.array([[k, k + 1, k + 24, k + 23] for k in range(22)])
    with pytest.raises(InputError, match="overlap"):
        read_mesh_file(write(tmp_path / "ring.xdmf", ring, cells), 2)


def test_a_mesh_that_leaves_out_a_little_is_advised_against(tmp_path: Path) -> None:
    x, cells = box(2, 8, 4.0)
    assert "cover" in read_mesh_file(write(tmp_path / "a.xdmf", x, cells), 2).advice


@pytest.mark.parametrize(
    "text,word",
    [("", "cannot read"), ("<Xdmf/>", "no Grid"), ("no xml", "cannot read"), ("<Xdmf>", "cannot read")],
)
def test_what_is_no_mesh_is_refused(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "a.xdmf"
    path.write_text(text)
    with pytest.raises(InputError, match=word):
        read_mesh_file(path, 2)


def test_triangles_are_refused_with_the_program_that_helps(tmp_path: Path) -> None:
    x = np.array([[-8, -8], [8, -8], [0, 8.0]])
    with pytest.raises(InputError, match="Gmsh"):
        read_mesh_file(write(tmp_path / "a.xdmf", x, np.array([[0, 1, 2]]), "Triangle"), 2)
