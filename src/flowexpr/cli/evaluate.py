"""``flowexpr evaluate``: cross-validate on a folder of images, by random folds, by clip and by subject."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from flowexpr.baselines import CNNExpressionClassifier, pca_lda
from flowexpr.cli.options import (
    add_data_options,
    add_model_options,
    build_classifier,
    check_page,
    check_writable,
    comma_separated,
    command_parser,
    describe_faces,
    read_faces,
    time_and_memory,
    with_folder,
)
from flowexpr.cli.report import add_report_options, first_model, write_report
from flowexpr.embedding import require_opentsne
from flowexpr.evaluation import EvaluationResult, evaluate, latent_table
from flowexpr.evaluation.protocols import possible_protocols

__all__ = ["add_parser"]

DETAILS = r"""examples:
  flowexpr evaluate CK+48 --subject '^(S\d+)' --clip '^(S\d+_\d+)' --protocols subject
  flowexpr evaluate jaffe --label '\.([A-Z]{2})\d' --subject '^([A-Z]{2})' --crop face --folds 10 -o jaffe.json

The flow and a linear baseline (PCA + LDA) stand on identical folds. Only the folds by subject say how well somebody
new is recognised. It trains once per fold and protocol; with --checkpoint-dir, a killed command that is run again
goes on from the folds that are done.
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
        type=comma_separated,
        help="of random, clip, subject, loso (leave one subject out: trains once per subject); default: the first "
        "three, as far as the names of the files allow",
    )
    parser.add_argument(
        "--estimators",
        metavar="A,B",
        type=comma_separated,
        default=["linear", "flow"],
        help="of linear (PCA + LDA), cnn (the paper's), flow; default linear,flow",
    )
    parser.add_argument(
        "--report", metavar="HTML", help="write a page of all of it there, which opens offline, with a map and morphs"
    )
    add_report_options(parser)
    parser.add_argument(
        "--latent-table",
        action="store_true",
        help="put the paper's Table I into the page, trees on t-SNE maps of latents: some minutes more; needs the "
        "extra [tsne]",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="fits at the same time, a thread each; -1: one per core")
    add_data_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    if options.output:
        check_writable(options.output, [options.folder])
    if options.report:
        check_page(options.report, "--report")
        check_writable(options.report, [options.folder], "--report")
        if options.output and Path(options.output).resolve() == Path(options.report).resolve():
            raise ValueError(f"-o and --report were both given {options.output}. Pass two files.")
        if options.latent_table:
            require_opentsne()
    elif options.embed_faces or options.title or options.latent_table:
        raise ValueError(
            "--embed-faces, --title and --latent-table are of the page. Pass --report FILE.html with them."
        )
    estimators = _estimators(options)
    faces = read_faces(options)
    print(describe_faces(faces), flush=True)
    if faces.subject is None:
        print(
            "Without --subject, people stand on both sides of every fold: the accuracy says nothing about new people.",
            file=sys.stderr,
        )
    result = evaluate(
        estimators,
        faces.images,
        faces.target_names[faces.target],
        subject=faces.subject,
        clip=faces.clip,
        protocols=options.protocols or _default_protocols(faces),
        n_splits=_n_splits(options.folds, faces),
        random_state=options.random_state,
        max_folds=options.max_folds,
        n_jobs=options.jobs,
        checkpoint_dir=options.checkpoint_dir,
        progress=True,
        # Kept with the fits as well, so that a page can be made of them later without training again.
        return_estimators=bool(options.report or options.checkpoint_dir),
    )
    if options.output:
        result.to_json(with_folder(options.output))
    print(f"\n{result.to_text()}\n\n{_comparisons(result)}{_recalls(result)}\n\n{time_and_memory(began)}")
    if options.output:
        print(f"wrote {options.output}")
    if options.report:
        labels = faces.target_names[faces.target]
        rows = latent_table(result, faces.images, labels) if options.latent_table else None
        write_report(result, first_model(result), options.report, options, faces, rows)
    return 0


def _estimators(options: argparse.Namespace) -> dict[str, Any]:
    """Build the classifiers that are asked for; the CNN trains on the flow's device, for as many epochs."""
    flow = build_classifier(options, verbose=int(sys.stderr.isatty() and options.jobs in (None, 1)))
    same = {name: getattr(flow, name) for name in ("max_epochs", "batch_size", "device", "random_state", "verbose")}
    known = {
        "linear": pca_lda(random_state=options.random_state),
        "cnn": CNNExpressionClassifier(**same),
        "flow": flow,
    }
    unknown = [name for name in options.estimators if name not in known]
    if unknown:
        raise ValueError(f"--estimators should name some of {', '.join(known)}, but {unknown[0]!r} is none of them.")
    return {name: known[name] for name in options.estimators}


def _default_protocols(faces: Bunch) -> list[str]:
    """Return all that the names of the files allow but "loso", which trains once a subject."""
    known = [kind for kind in ("subject", "clip") if faces[kind] is not None]
    return [name for name in possible_protocols(known) if name != "loso"]


def _n_splits(folds: int, faces: Bunch) -> int:
    """Return the number of folds, no more than there are subjects."""
    if folds < 2:
        raise ValueError(f"--folds {folds} was expected to be at least 2.")
    n_subjects = folds if faces.subject is None else len(np.unique(faces.subject))
    if 2 <= n_subjects < folds:
        print(f"--folds {folds} is more than there are subjects: {n_subjects} folds.", file=sys.stderr)
        return n_subjects
    return folds


def _comparisons(result: EvaluationResult) -> str:
    """Return how the flow compares with every other estimator on new people, a line each."""
    lines = []
    for estimator, protocol in result.predictions:
        if protocol not in ("subject", "loso") or estimator == "flow" or ("flow", protocol) not in result.predictions:
            continue
        found = result.compare("flow", estimator, protocol)
        if found["low"] is not None:
            interval = f"[{found['low']:+z.1%}, {found['high']:+z.1%}] over {found['n_subjects']} subjects"
            test = f"p = {found['p_value']:.2g} (Wilcoxon)"
            lines.append(f"{protocol}: flow - {estimator} {found['difference']:+z.1%} {interval}, {test}")
    return "\n".join([*lines, "", ""]) if lines else ""


def _recalls(result: EvaluationResult) -> str:
    """Return the share of each expression that was recognised, by protocol and estimator, as a table."""
    names = [str(name) for name in result.classes]
    widths = [max(len(name), 6) for name in names]
    rows = ["share of each expression that was recognised", _row("protocol", "estimator", names, widths)]
    for row in result.summary():
        shares = [f"{row[f'recall_{name}']:.1%}" for name in names]
        rows.append(_row(row["protocol"], row["estimator"], shares, widths))
    return "\n".join(rows)


def _row(protocol: str, estimator: str, cells: list[str], widths: list[int]) -> str:
    aligned = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([protocol.ljust(8), estimator.ljust(9), *aligned])
