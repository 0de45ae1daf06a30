"""The pages of README.md and examples/: their links lead somewhere, and their commands run.

A fenced block says by the second word after its fence what is done with it: `sh run` and `python run` are run, in one folder a
page; `sh fails` are commands that end with one line and status 2; of `sh slow` the programs and files are looked for.  A block
`toml NAME.toml` is that file, for all of its page.
"""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import HANGS, clean_environment, command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "examples").glob("*.md"))]
FENCE = re.compile(r"^```([a-z]+) (run|slow|fails)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```toml (\w+\.toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# With examples and tests beside them, commands find what they name, as in the project's folder.
BIN = Path(sys.executable).parent


def blocks(page: Path, *kinds: str) -> list[tuple[str, str]]:
    """Language and text of a page's blocks of these kinds."""
    return [(language, text) for language, kind, text in FENCE.findall(page.read_text()) if kind in kinds]


def ids(page: Path) -> str:
    return page.name


def with_blocks(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, *kinds)], ids=ids)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("examples", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def run_line(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line of a shell; a command of the package on ranks that are there already, as an interpreter takes long to start."""
    words = shlex.split(line, comments=True)
    ranks = 2 if words[:3] == ["mpirun", "-n", "2"] else 1
    words = words[3:] if ranks > 1 else words
    if words[:2] == ["python", "-m"] and words[2].startswith("mfpde.") and not set(words) & {"|", "&&", ">"}:
        return command(words[2].removeprefix("mfpde."), *words[3:], ranks=ranks, cwd=folder)
    return run(["bash", "-ec", line], folder)


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = clean_environment()
    environment |= {"PATH": f"{BIN}:{environment['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANGS)


@with_blocks("run")
def test_the_commands_of_a_page_run(page: Path, folder: Path) -> None:
    for name, text in FILE.findall(page.read_text()):
        (folder / name).write_text(text)
    for language, text in blocks(page, "run"):
        if language == "python":
            done = run([sys.executable, "-c", text], folder)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            continue
        for line in text.splitlines():
            done = run_line(line, folder)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@with_blocks("fails")
def test_bad_commands_end_with_one_line(page: Path, folder: Path) -> None:
    for _, text in blocks(page, "fails"):
        for line in text.splitlines():
            done = run_line(line, folder)
            assert done.returncode == 2, f"{line}\n{done.stdout}\n{done.stderr}"
            assert done.stderr.startswith("mfpde: "), done.stderr
            assert done.stderr.count("\n") == 1, done.stderr


@with_blocks("slow")
def test_slow_commands_name_programs_and_files_that_are_there(page: Path) -> None:
    for _, text in blocks(page, "slow"):
        for line in filter(None, text.splitlines()):
            words = shlex.split(line, comments=True)
            if "-m" in words:
                assert find_spec(words[words.index("-m") + 1]) is not None, line
            for word in words:
                if word.startswith(("examples/", "tests/")):
                    assert (ROOT / word).is_file(), line


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).is_file(), target


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files_and_modules_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    for module in set(re.findall(r"-m (mfpde[.\w]*)", text)):
        assert find_spec(module) is not None, module
    for path in set(re.findall(r"\b(?:examples|tests|mfpde)/[\w/]+\.(?:py|toml|md)\b", text)):
        if "my_laws" not in path and page.name != "EXTEND.md":
            assert (ROOT / path).is_file(), path


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8192
