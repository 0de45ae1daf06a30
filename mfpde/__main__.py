"""All commands under one name: `mfpde solve CONFIG.toml`, `python -m mfpde compare A.h5 B.h5`, `mfpde examples DIR`."""

import argparse
import importlib
import sys

COMMANDS = {
    "solve": "solve a configuration for the density of the neurons",
    "inspect": "say what is in a result file, and draw it",
    "compare": "compare results, also with a curve of your own",
    "density": "the density of the neurons at any time, on bins",
    "particles": "the references by particles, finite networks and SGD",
    "sweep": "a configuration over a grid of values, and its phase diagram",
    "converge": "a series of configurations, and the order of their errors",
    "kernel": "the kernel matrix of a last, linear stage, and the rate that it proves",
    "learnability": "what a network can learn of a polynomial, before any run",
    "width": "what a network of N neurons does: the mean of its loss, and its deviation",
    "examples": "copy the shipped examples and meshes to a directory",
}


def main() -> int:
    """Runs the command that the first word names and returns the exit status; collective if that is."""
    import mfpde

    names = "\n".join(f"  {name:<13} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="mfpde",
        description=mfpde.__doc__.splitlines()[0] if mfpde.__doc__ else None,
        epilog=f"commands, each with --help:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("--version", action="version", version=mfpde.__version__)
    words = sys.argv[1:]
    arguments = parser.parse_args(words[:1])
    found = importlib.import_module(f"mfpde.{arguments.command}")
    if "main" not in vars(found):
        found = importlib.import_module(f"mfpde.{arguments.command}.__main__")
    sys.argv = [f"mfpde {arguments.command}", *words[1:]]
    return int(found.main())


if __name__ == "__main__":
    sys.exit(main())
