"""What several test files use."""

import os
import subprocess
import sys
from pathlib import Path


def clean_environment() -> dict[str, str]:
    """The environment without the parent's own MPI."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "HYDRA", "MPI"))}


def command(module: str, *arguments: str, ranks: int = 1, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a module of the package under mpirun; the parent's own MPI environment is not inherited."""
    launcher = [str(Path(sys.executable).with_name("mpirun")), "-n", str(ranks)] if ranks > 1 else []
    words = [*launcher, sys.executable, "-m", f"mfpde.{module}", *arguments]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120, env=clean_environment(), check=False)
