"""``flowexpr predict``: the expressions of new images, one row an input whatever became of it."""

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from flowexpr.classifier import FlowExpressionClassifier
from flowexpr.cli.options import check_writable, command_parser
from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces import FacePreparation, find_images
from flowexpr.persistence import load

__all__ = ["add_parser"]

DETAILS = """examples:
  flowexpr predict ck.flowexpr new/*.png -o out.csv
  flowexpr predict ck.flowexpr session1 session2 > out.csv

Columns: path; predicted; p_LABEL, the probability of each expression; log_likelihood, log p(x) in nats;
bits_per_dim, the same per value (higher means less like the training images); error, why a file has no prediction.
The status is 1 where no file at all could be read.
"""

BATCH = 64
"""Images in memory at a time."""


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = command_parser(commands, "predict", "recognise the expressions of new images", DETAILS)
    parser.add_argument("model", metavar="MODEL", help="file that flowexpr fit (or save) wrote")
    parser.add_argument("images", metavar="IMAGES", nargs="+", help="image files, or folders of them")
    parser.add_argument("-o", "--output", metavar="CSV", help="file to write; without it, standard output")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto; default auto")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.output:
        check_writable(options.output)
    model = load(options.model, device=options.device)
    prepare = _preparation(model, options.model)
    paths = _expand(options.images)
    labels = [str(label) for label in model.classes_]
    n_read = 0
    with _opened(options.output) as file:
        writer = csv.writer(file)
        writer.writerow(["path", "predicted", *(f"p_{label}" for label in labels), *_LAST_COLUMNS])
        bar = tqdm(paths, disable=len(paths) < BATCH or not sys.stderr.isatty(), unit="image")
        for batch in _batches(bar, BATCH):
            images, reasons = _read(prepare, batch)
            predictions = iter(_predictions(model, images))
            n_read += len(images)
            for path in batch:
                reason = reasons.get(path)
                cells = [""] * (len(labels) + 3) if reason is not None else next(predictions)
                writer.writerow([path, *cells, reason or ""])
    if n_read < len(paths):
        print(f"{len(paths) - n_read} of {len(paths)} files have no prediction; see the column error.", file=sys.stderr)
    return 0 if n_read else 1


_LAST_COLUMNS = ("log_likelihood", "bits_per_dim", "error")


def _preparation(model: FlowExpressionClassifier, path: str) -> FacePreparation:
    """Return how files become what the model was fitted on."""
    if hasattr(model, "preprocessing_"):
        return FacePreparation.from_state(model.preprocessing_)
    if model.image_shape_ is None or model.image_shape_[2] not in (1, 3):
        raise ValueError(
            f"{path} was fitted on {_kind(model)}, which image files do not hold. "
            "Pass a model of grey or colour images."
        )
    return FacePreparation(model.image_shape_[:2], model.image_shape_[2] == 1)


def _kind(model: FlowExpressionClassifier) -> str:
    if model.image_shape_ is None:
        return f"vectors of {model.n_features_in_} features"
    return f"images with {model.image_shape_[2]} channels"


def _expand(inputs: list[str]) -> list[str]:
    """Return the inputs with every folder replaced by the images in it; an empty folder stays, to be told of."""
    paths: list[str] = []
    for given in inputs:
        found = [str(path) for path in find_images(given)] if Path(given).is_dir() else []
        paths += found or [given]
    return paths


@contextmanager
def _opened(output: str | None) -> Iterator[TextIO]:
    # A file name may hold bytes that are no text; they are written as they are.
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape", newline="")
        yield sys.stdout
        return
    with open(output, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield file


def _batches(paths: Iterable[str], size: int) -> Iterator[list[str]]:
    remaining = iter(paths)
    while batch := list(islice(remaining, size)):
        yield batch


def _read(prepare: FacePreparation, paths: list[str]) -> tuple[list[NDArray[np.uint8]], dict[str, str]]:
    """Return the images that can be read, in order, and why the others cannot."""
    images, reasons = [], {}
    for path in paths:
        try:
            images.append(prepare.read(path))
        except UnreadableImageError as error:
            reasons[path] = str(error)
    return images, reasons


def _predictions(model: FlowExpressionClassifier, images: list[NDArray[np.uint8]]) -> list[list[str]]:
    """Return the cells of every image: label, probabilities, log-likelihood, bits per dimension."""
    if not images:
        return []
    X = np.stack(images)
    proba = model.predict_proba(X)
    log_likelihood = model.score_samples(X)
    bits_per_dim = -log_likelihood / (X[0].size * np.log(2))
    names = model.classes_[proba.argmax(1)]
    return [
        [str(name), *(f"{p:.6g}" for p in row), f"{nats:.3f}", f"{bits:.4f}"]
        for name, row, nats, bits in zip(names, proba, log_likelihood, bits_per_dim, strict=True)
    ]
