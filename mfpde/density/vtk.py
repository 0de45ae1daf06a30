"""Files of VTK's XML formats: image data, unstructured cells, and a collection of files in time.

Arrays are appended as raw bytes, each after its length as an unsigned 64-bit number, in the byte order of this machine.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError

Array = NDArray[np.float64]

# Number of a line, a quadrilateral and a hexahedron among VTK's cells.
CELL_TYPES = {1: 3, 2: 9, 3: 12}
_NAMES = {"f8": "Float64", "i8": "Int64", "u1": "UInt8"}


def write_image(path: Path, edges: Sequence[Array], cell_data: Mapping[str, Array], time: float) -> None:
    """Writes fields on the cells of a regular grid of one to three directions.

    Args:
        path: With suffix .vti.
        edges: Edges of the cells in each direction, equally spaced.
        cell_data: By name, shape (cells of each direction).
        time: Time of the fields.

    Raises:
        InputError: If the file cannot be written.
    """
    missing = 3 - len(edges)
    extent = " ".join(f"0 {n}" for n in (*(len(e) - 1 for e in edges), *[0] * missing))
    origin = " ".join(f"{x:.17g}" for x in (*(e[0] for e in edges), *[0.0] * missing))
    spacing = " ".join(f"{x:.17g}" for x in (*((e[-1] - e[0]) / (len(e) - 1) for e in edges), *[1.0] * missing))
    data = _Appended()
    fields = "".join(data.element(name, values.ravel(order="F")) for name, values in cell_data.items())
    body = (
        f'<ImageData WholeExtent="{extent}" Origin="{origin}" Spacing="{spacing}">\n{_time(time)}'
        f'<Piece Extent="{extent}">\n<CellData Scalars={quoteattr(next(iter(cell_data)))}>\n{fields}</CellData>\n</Piece>\n'
        "</ImageData>\n"
    )
    data.write(path, "ImageData", body)


def write_cells(path: Path, points: Array, cells: NDArray[np.int64], cell_data: Mapping[str, Array], time: float) -> None:
    """Writes fields on lines, quadrilaterals or hexahedra.

    Args:
        path: With suffix .vtu.
        points: Corners, shape (points, 3).
        cells: Their numbers in VTK's order, shape (cells, 2, 4 or 8).
        cell_data: By name, shape (cells,).
        time: Time of the fields.

    Raises:
        InputError: If the file cannot be written.
    """
    count, corners = cells.shape
    kind = CELL_TYPES[corners.bit_length() - 1]
    data = _Appended()
    fields = "".join(data.element(name, values) for name, values in cell_data.items())
    where = data.element("Points", points.ravel(), components=3)
    topology = (
        data.element("connectivity", cells.ravel())
        + data.element("offsets", corners * np.arange(1, count + 1, dtype=np.int64))
        + data.element("types", np.full(count, kind, dtype=np.uint8))
    )
    body = (
        f'<UnstructuredGrid>\n{_time(time)}<Piece NumberOfPoints="{len(points)}" NumberOfCells="{count}">\n'
        f"<CellData>\n{fields}</CellData>\n<Points>\n{where}</Points>\n<Cells>\n{topology}</Cells>\n</Piece>\n</UnstructuredGrid>\n"
    )
    data.write(path, "UnstructuredGrid", body)


def write_collection(path: Path, members: Sequence[tuple[float, Path]]) -> None:
    """Writes a .pvd file, which shows files of the same folder as one series in time.

    Raises:
        InputError: If the file cannot be written.
    """
    lines = "".join(f'<DataSet timestep="{time:.17g}" file={quoteattr(member.name)}/>\n' for time, member in members)
    text = f'{_HEAD}<VTKFile type="Collection" version="1.0" {_ORDER}>\n<Collection>\n{lines}</Collection>\n</VTKFile>\n'
    _save(path, text.encode())


_HEAD = '<?xml version="1.0"?>\n'
_ORDER = f'byte_order="{"LittleEndian" if sys.byteorder == "little" else "BigEndian"}" header_type="UInt64"'


def _time(time: float) -> str:
    value = f'<DataArray type="Float64" Name="TimeValue" NumberOfTuples="1" format="ascii">{time:.17g}</DataArray>'
    return f"<FieldData>\n{value}\n</FieldData>\n"


class _Appended:
    """The arrays of a file, and the elements that point at them."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._size = 0

    def element(self, name: str, values: NDArray[Any], components: int = 1) -> str:
        """Appends an array and returns its element."""
        kind, offset, content = _NAMES[values.dtype.str[1:]], self._size, np.ascontiguousarray(values).tobytes()
        block = np.array([len(content)], dtype=np.uint64).tobytes() + content
        self._blocks.append(block)
        self._size += len(block)
        shape = f' NumberOfComponents="{components}"' if components > 1 else ""
        return f'<DataArray type="{kind}" Name={quoteattr(name)}{shape} format="appended" offset="{offset}"/>\n'

    def write(self, path: Path, kind: str, body: str) -> None:
        head = f'{_HEAD}<VTKFile type="{kind}" version="1.0" {_ORDER}>\n{body}<AppendedData encoding="raw">\n_'
        _save(path, b"".join((head.encode(), *self._blocks, b"\n</AppendedData>\n</VTKFile>\n")))


def _save(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}; allowed: a writable place") from None
