"""``flowexpr demo``: faces are drawn, a flow is trained, pictures are left."""

import argparse
from pathlib import Path
from typing import Any

from flowexpr.cli.options import command_parser, seed

__all__ = ["add_parser"]

DETAILS = """\
It cross-validates the flow beside a linear baseline, on the paper's random folds and on folds by subject, and leaves
the faces, samples, morphs, the latent map, confusion matrices, the training curves, a model and every number.
A few minutes on two cores; --quick takes under one.
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = command_parser(commands, "demo", "show everything on faces that are drawn", DETAILS)
    parser.add_argument("-o", "--output", default="flowexpr-demo", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="fewer people, folds and epochs; the numbers mean little")
    parser.add_argument("--random-state", type=seed, default=0, metavar="SEED", help="default: 0")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from flowexpr.demo import run_demo

    if Path(options.output).is_file():
        raise ValueError(f"-o {options.output} was expected to be a folder, but is a file. Pass another name.")

    run_demo(options.output, quick=options.quick, random_state=options.random_state)
    return 0
