"""``flowexpr report``: an evaluation as one HTML page that opens offline."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from flowexpr.cli.options import (
    add_reading_options,
    check_page,
    check_writable,
    command_parser,
    read_faces,
    read_flow,
    with_folder,
)
from flowexpr.evaluation import EvaluationResult
from flowexpr.evaluation.protocols import strictest

__all__ = ["add_parser", "add_report_options", "first_model", "write_report"]

DETAILS = r"""examples:
  flowexpr evaluate CK+48 --subject '^(S\d+)' -o ck.json
  flowexpr report ck.json -o ck.html
  flowexpr report ck.json --model ck.flowexpr --images CK+48 --subject '^(S\d+)' -o ck.html

Without --model and --images the page has no latent map, morphs and learning curves. The images are those that were
evaluated, read with the same options. 'flowexpr evaluate --report' makes the whole page at once.
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = command_parser(commands, "report", "make a page of an evaluation", DETAILS)
    parser.add_argument("result", metavar="RESULT", help="file that flowexpr evaluate -o (or to_json) wrote")
    parser.add_argument("-o", "--output", required=True, metavar="HTML", help="file to write")
    parser.add_argument("--model", metavar="MODEL", help="file that flowexpr fit (or save) wrote, for map and morphs")
    parser.add_argument("--images", dest="folder", metavar="FOLDER", help="the images that were evaluated")
    add_report_options(parser)
    add_reading_options(parser)
    parser.set_defaults(run=_run)


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command that makes a page asks about it."""
    parser.add_argument(
        "--embed-faces",
        action="store_true",
        help="put small copies of the faces into the page: whoever gets it can see them. Off by default",
    )
    parser.add_argument("--title", metavar="TEXT", help="heading of the page; default: the name of the folder or file")


def first_model(result: EvaluationResult) -> Any:
    """Return the first fold's flow, or else last estimator, of the protocol that leaks least."""
    protocol = strictest(kind for _, kind in result.estimators)
    names = [name for name, kind in result.estimators if kind == protocol]
    return result.estimators["flow" if "flow" in names else names[-1], protocol][0]


def write_report(
    result: EvaluationResult,
    model: Any,
    output: str,
    options: argparse.Namespace,
    faces: Bunch | None,
    latent_table: Any = None,
) -> None:
    """Write the page of a result, with the images where they are known, and say how large it became."""
    from flowexpr.report import build

    named = Path(options.result if options.folder is None else options.folder).resolve()
    root = named if named.is_dir() else named.parent
    path = build(
        result,
        model,
        with_folder(output),
        X=None if faces is None else faces.images,
        names=None if faces is None else [os.path.relpath(path, root) for path in faces.paths],
        skipped=[] if faces is None else [(os.path.relpath(path, root), reason) for path, reason in faces.skipped],
        latent_table=latent_table,
        embed_faces=options.embed_faces,
        title=options.title or f"Facial expressions: {named.name}",
    )
    print(f"wrote {path} ({path.stat().st_size / 2**20:.2f} MiB)")


def _run(options: argparse.Namespace) -> int:
    check_page(options.output, "-o")
    check_writable(options.output, [options.result, options.model, options.folder])
    result = EvaluationResult.from_json(Path(options.result))
    model = None if options.model is None else read_flow(options.model)
    _tell_of_another_model(options.model, model, result)
    faces = None
    if options.folder is not None:
        faces = read_faces(options)
        _check_same(result, faces, options.folder)
    write_report(result, model, options.output, options, faces)
    return 0


def _check_same(result: EvaluationResult, faces: Bunch, folder: str) -> None:
    """Fail where other images were evaluated than those that were read."""
    labels = faces.target_names[faces.target].astype(str)
    for pooled in result.predictions.values():
        fits = pooled.index.max() < len(labels)
        if not fits or len(labels) != result.settings["n_samples"] or np.any(labels[pooled.index] != pooled.y_true):
            raise ValueError(
                f"--images {folder} was expected to hold the {result.settings['n_samples']} images that were "
                f"evaluated, but holds {len(labels)} or other expressions. Pass the folder, and the options by which "
                "it was read (--classes, --label, --crop, ...), of that evaluation."
            )


def _tell_of_another_model(path: str, model: Any, result: EvaluationResult) -> None:
    """Say so where a model takes other samples than those that were evaluated, and so is not of that evaluation."""
    evaluated = result.settings.get("sample_shape")
    if model is None or evaluated is None or list(model.sample_shape_) == list(evaluated):
        return
    takes, were = (" x ".join(map(str, shape)) for shape in (model.sample_shape_, evaluated))
    print(
        f"{path} takes samples of {takes}, those evaluated were of {were}: the page's scores are of another model.",
        file=sys.stderr,
    )
