"""The public names, in interpreters of their own, and the house: which room may know which."""

import ast
import os
import pydoc
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from support import HANGS, clean_environment

import mfpde

PACKAGE = Path(mfpde.__file__).parent
NAMES = (
    "load", "build_problem", "solve", "read_history", "parse_target", "parse_activation", "start_flow", "integrate",
    "characteristics", "learnability", "run", "open", "particles", "kernel", "compare", "density", "width",
)  # fmt: skip
# Nobody may import from a later row, nor from another room of the same row.
ROWS: tuple[tuple[str, ...], ...] = (
    ("errors", "callable", "digits", "version", "early"),
    ("registry", "progress", "interrupts", "petsc", "paths"),
    ("parallel", "memory"),
    ("compile",),
    ("expressions", "neurons"),
    ("problem",),
    ("features", "quadrature"),
    ("evolution",),
    ("discretisation",),
    ("moving", "affine"),
    ("nets",),
    ("discretisations",),
    ("command",),
    ("moments",),
    ("training",),
    ("accuracy",),
    ("output",),
    ("density", "width"),
    ("formats",),
    ("particles", "kernel"),
    ("learnability",),
    ("solving",),
    ("solve", "inspect", "compare"),
    ("results",),
    ("running",),
    ("converge", "sweep", "examples"),
)


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=HANGS, env=clean_environment(), check=False)


LOADED = "print([m for m in ('petsc4py.PETSc', 'dolfinx', 'numpy', 'sympy', 'h5py') if m in sys.modules])\n"
ENVIRONMENT = "import sys\ntry:\n    import dolfinx_solver\nexcept ImportError:\n    pass\n" + LOADED


@pytest.mark.parametrize("before", ["", "import mfpde.solve, mfpde.learnability, mfpde.evolution.integrate\n"])
def test_public_names_can_be_called_in_any_order_of_imports(before: str, tmp_path: Path) -> None:
    """And importing the package alone loads neither MPI nor PETSc nor numerics, but for what the environment does by itself."""
    code = before + (
        f"import sys, mfpde\n{LOADED}"
        "from mpi4py import MPI\n"
        "from pathlib import Path\n"
        f"assert all(callable(getattr(mfpde, name)) for name in {NAMES})\n"
        "small = ['discretization.a_nodes=3', 'discretization.r_nodes=1', 'training.final_time=0.5', 'output.times=3']\n"
        "config = mfpde.load(None, small + ['input.dimension=inf', 'discretization.accuracy=false', 'output.plot=false'])\n"
        "problem = mfpde.build_problem(config)\n"
        "summary = mfpde.solve(MPI.COMM_SELF, config, problem)\n"
        "from mfpde.solve import solve\n"
        "assert solve(MPI.COMM_SELF, config, problem).loss == summary.loss\n"
        "assert mfpde.read_history(Path(config.output.file)).loss[-1] == summary.loss\n"
        "target, sigma = mfpde.parse_target('z1 + z1*z2*z3'), mfpde.parse_activation('relu')\n"
        "from mfpde.learnability.report import learnability\n"
        "assert mfpde.learnability(target, sigma).definition.bound == learnability(target, sigma).definition.bound > 0\n"
        "flow, seen = mfpde.start_flow(MPI.COMM_SELF, problem, config.discretization), []\n"
        "mfpde.integrate(flow, [0.0, 0.5], 1e-8, lambda step, vector: seen.append(step.time))\n"
        "assert seen == [0.0, 0.5]\n"
        "print('done')"
    )
    done = python(code, tmp_path)
    assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stderr
    assert before or done.stdout.startswith(python(ENVIRONMENT, tmp_path).stdout)


@pytest.mark.parametrize("module", ["solve", "learnability", "width"])
def test_the_commands_of_callable_modules_still_run(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"mfpde.{module}", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == 0 and f"python -m mfpde.{module}" in done.stdout, done.stderr


def test_help_is_a_page_with_a_line_for_every_name() -> None:
    page = pydoc.render_doc(mfpde, renderer=pydoc.plaintext)
    assert all(f"\n        {name} " in page for name in NAMES) and len(page.splitlines()) < 105
    own = {name for name in dir(mfpde) if not name.startswith("__")}
    assert set(NAMES) <= own and not own & {"os", "early", "importlib", "Any", "TYPE_CHECKING", "errors"}
    with pytest.raises(AttributeError, match="sovle"):
        mfpde.sovle  # noqa: B018


def test_type_checkers_see_the_functions(tmp_path: Path) -> None:
    from mypy import api

    (tmp_path / "user.py").write_text(
        "import mfpde\nfrom mpi4py import MPI\nconfig = mfpde.load(None)\n"
        "reveal_type(mfpde.solve(MPI.COMM_SELF, config, mfpde.build_problem(config)))\n"
        "reveal_type(mfpde.learnability(mfpde.parse_target('z1'), mfpde.parse_activation('tanh')))\n"
        "reveal_type(mfpde.kernel(MPI.COMM_SELF, config, mfpde.build_problem(config)))\n"
        "reveal_type(mfpde.compare(mfpde.run(), 'mine.csv').max_loss)\n"
    )
    said, problems, _ = api.run(["--config-file", str(PACKAGE.parent / "pyproject.toml"), str(tmp_path / "user.py")])
    kinds = (
        "mfpde.output.protocol.Summary",
        "mfpde.learnability.report.Report",
        "mfpde.kernel.study.KernelStudy",
        'type is "float"',
    )
    assert all(kind in said for kind in kinds) and ": error: " not in said, said + problems


def modules() -> dict[str, Path]:
    """All modules by their dotted names."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path], everywhere: bool) -> set[str]:
    """The modules of this package that a file imports: at its top level, or in its functions as well."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in inside}
    return {name for name in found if name in known}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_imports_run_one_way() -> None:
    """Also those in functions; the package's own list of public names and the one command of all stand outside."""
    known, row = modules(), {name: number for number, names in enumerate(ROWS) for name in names}
    upwards = []
    for name, path in known.items():
        if name in ("mfpde", "mfpde.__main__"):
            continue
        entry = name.endswith("__main__") or "." not in name.removeprefix("mfpde.")
        for other in imports(path, known, True):
            assert room(other) != "command" or entry, (name, other)
            if other == "mfpde" or (room(other) != room(name) and row[room(other)] >= row[room(name)]):
                upwards.append((name, other))
    assert upwards == []
    assert {room(name) for name in known} == {"", "__main__", *row}


def test_no_module_imports_itself_by_a_circle() -> None:
    known = modules()
    graph = {name: imports(path, known, False) - {name, "mfpde"} for name, path in known.items() if name != "mfpde"}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_folder_holds_more_than_a_quarter_of_the_code() -> None:
    lines: dict[str, int] = defaultdict(int)
    for path in PACKAGE.rglob("*.[pch]*"):
        if path.suffix in (".py", ".c", ".h"):
            lines[str(path.parent.relative_to(PACKAGE)).split(os.sep)[0]] += len(path.read_text().splitlines())
    assert max(lines.values()) < sum(lines.values()) / 4, dict(lines)
