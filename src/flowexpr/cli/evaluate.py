"""``flowexpr evaluate``: cross-validate on a folder of images, by random folds, by clip and by subject."""

import argparse
import sys
import time
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from flowexpr.baselines import pca_lda
from flowexpr.cli.options import (
    add_data_options,
    add_model_options,
    build_classifier,
    check_writable,
    command_parser,
    describe_faces,
    peak_memory,
    read_faces,
)
from flowexpr.evaluation import EvaluationResult, evaluate
from flowexpr.evaluation.protocols import PROTOCOLS

__all__ = ["add_parser"]

DETAILS = r"""examples:
  flowexpr evaluate CK+48 --subject '^(S\d+)' --clip '^(S\d+_\d+)' --protocols subject
  flowexpr evaluate jaffe --label '\.([A-Z]{2})\d' --subject '^([A-Z]{2})' --crop face --folds 10 -o jaffe.json

The flow and a linear baseline (PCA + LDA) stand on identical folds. Only the folds by subject say how well somebody
new is recognised. It trains once a fold and protocol.
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = command_parser(commands, "evaluate", "cross-validate on a folder of images", DETAILS)
    parser.add_argument("-o", "--output", metavar="FILE", help="write scores and confusion matrices there, as JSON")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="folds of a protocol; default 5")
    parser.add_argument("--max-folds", type=int, metavar="N", help="run only the first N of them, to save time")
    parser.add_argument(
        "--protocols",
        metavar="A,B",
        type=lambda text: [name.strip() for name in text.split(",")],
        help="of random, clip, subject; default: all that the names of the files allow",
    )
    add_data_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    if options.output:
        check_writable(options.output)
    classifier = build_classifier(options, verbose=int(sys.stderr.isatty()))
    faces = read_faces(options)
    print(describe_faces(faces), flush=True)
    result = evaluate(
        {"linear": pca_lda(random_state=options.random_state), "flow": classifier},
        faces.images,
        faces.target_names[faces.target],
        subject=faces.subject,
        clip=faces.clip,
        protocols=options.protocols or _possible_protocols(faces),
        n_splits=_n_splits(options.folds, faces),
        random_state=options.random_state,
        max_folds=options.max_folds,
        progress=True,
    )
    print(f"\n{result.to_text()}\n\n{_recalls(result)}\n\n{peak_memory(began)}")
    if options.output:
        result.to_json(options.output)
        print(f"wrote {options.output}")
    return 0


def _possible_protocols(faces: Bunch) -> list[str]:
    possible = {"random": True, "clip": faces.clip is not None, "subject": faces.subject is not None}
    if faces.subject is None:
        print(
            "Without --subject, people stand on both sides of every fold: the accuracy says nothing about new people.",
            file=sys.stderr,
        )
    return [name for name in PROTOCOLS if possible[name]]


def _n_splits(folds: int, faces: Bunch) -> int:
    """Return the number of folds, no more than there are subjects."""
    if folds < 2:
        raise ValueError(f"--folds {folds} was expected to be at least 2.")
    n_subjects = folds if faces.subject is None else len(np.unique(faces.subject))
    if 2 <= n_subjects < folds:
        print(f"--folds {folds} is more than there are subjects: {n_subjects} folds.", file=sys.stderr)
        return n_subjects
    return folds


def _recalls(result: EvaluationResult) -> str:
    """Return the share of each expression that the flow recognised, by protocol, as a table."""
    names = [str(name) for name in result.classes]
    widths = [max(len(name), 6) for name in names]
    rows = ["share of each expression that the flow recognised", _row("protocol", names, widths)]
    for estimator, protocol in result.predictions:
        if estimator == "flow":
            recall = np.diag(result.confusion_matrix(estimator, protocol, normalize="true"))
            rows.append(_row(protocol, [f"{share:.1%}" for share in recall], widths))
    return "\n".join(rows)


def _row(name: str, cells: list[str], widths: list[int]) -> str:
    return "  ".join([name.ljust(8), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))])
