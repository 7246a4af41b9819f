"""``flowexpr predict``: the expressions of new images and videos, one row per picture whatever became of it."""

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from flowexpr.cli.options import (
    check_writable,
    command_parser,
    figure_endings,
    preparation_of,
    read_flow,
    short_names,
    with_folder,
)
from flowexpr.cli.predictions import FexColumns, OwnColumns, Smoother, predictions_of
from flowexpr.display.axes import require_matplotlib
from flowexpr.display.timeline import Timeline, TimelineDisplay
from flowexpr.faces.pictures import Picture, read_pictures
from flowexpr.faces.reading import IMAGE_SUFFIXES, find_files
from flowexpr.faces.tracking import CHOICES
from flowexpr.faces.video import VIDEO_SUFFIXES, is_video

__all__ = ["add_parser"]

DETAILS = """examples:
  flowexpr predict ck.flowexpr new/*.png -o out.csv
  flowexpr predict ck.flowexpr interview.mp4 -o out.csv --plot out.png --smooth 0.5
  flowexpr predict ck.flowexpr interview.mp4 -o out.csv --format fex

A row for every image and every frame of a video. Columns: path; frame, time in seconds and box (left top right bottom,
pixels), where there are any; face_found, yes or no where one was looked for; predicted; p_LABEL, the probability of
each expression (smooth_LABEL with --smooth); log_likelihood, log p(x) in nats; bits_per_dim, the same per value
(higher means less like the training images); typicality, 0 to 1; rejected, why a prediction should not be used, or
there is none; error, why there is none. The status is 1 where nothing at all could be read.
"""

BATCH = 64
"""Pictures in memory at a time."""
MOST_PLOTTED = 12
"""Videos that a plot shows."""


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = command_parser(commands, "predict", "recognise the expressions of new images and videos", DETAILS)
    parser.add_argument("model", metavar="MODEL", help="file that flowexpr fit (or save) wrote")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="images, videos, or folders of them")
    parser.add_argument("-o", "--output", metavar="CSV", help="file to write; without it, standard output")
    parser.add_argument("--plot", metavar="FIGURE", help="draw the probabilities (smoothed with --smooth) over time")
    parser.add_argument(
        "--format", choices=["own", "fex"], default="own", help="fex: the columns of py-feat's tables, and rejected"
    )
    parser.add_argument(
        "--smooth", metavar="SECONDS", type=float, help="also average over the past, with this half-life"
    )
    reject = parser.add_argument_group("when a prediction is rejected (its row stays, and says why)")
    reject.add_argument("--min-confidence", metavar="P", type=float, help="below this largest probability, 0 to 1")
    reject.add_argument(
        "--min-typicality",
        metavar="T",
        type=float,
        help="below this typicality, 0 to 1: how usual the image is among the faces trained on",
    )
    faces = parser.add_argument_group("how faces are found; default as in training, and followed in videos")
    faces.add_argument("--crop", choices=["face", "none"], help="none: the pictures are cropped faces already")
    faces.add_argument("--detector", metavar="NAME", help="as in flowexpr prepare; default cascade")
    faces.add_argument(
        "--person",
        choices=CHOICES,
        default="nearest",
        help="which face, where there are several: nearest (default) to where it was last, largest, or most central",
    )
    parser.add_argument(
        "--batch-size", type=int, default=BATCH, metavar="N", help=f"pictures at a time; default {BATCH}"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto; default auto")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    paths = _expand(options.inputs)
    _check(options, paths)
    model = read_flow(options.model, options.device)
    prepare = preparation_of(model, options.model)
    if options.crop is not None:
        prepare = replace(prepare, crop=None if options.crop == "none" else "face")
    labels = [str(label) for label in model.classes_]
    n_values = int(np.prod(model.image_shape_ or (model.n_features_in_,)))
    smoothed = bool(options.smooth)
    columns = FexColumns(labels, smoothed) if options.format == "fex" else OwnColumns(labels, n_values, smoothed)
    smoother = Smoother(options.smooth) if options.smooth else None
    if options.detector is not None and prepare.crop != "face" and not any(map(is_video, paths)):
        raise ValueError("--detector finds faces, but the images are taken as they are here. Pass --crop face with it.")
    detector = "none" if options.crop == "none" else options.detector or "cascade"
    pictures = read_pictures(paths, prepare, detector=detector, person=options.person)
    timelines: list[tuple[str, Timeline]] = []  # a video that is given twice has two
    n_rows = n_read = n_rejected = 0
    with _opened(options.output) as file:
        writer = csv.writer(file)
        writer.writerow(columns.header)
        bar = tqdm(pictures, disable=not sys.stderr.isatty(), unit="picture")
        for batch in _batches(bar, options.batch_size):
            for prediction in predictions_of(
                model, batch, min_confidence=options.min_confidence, min_typicality=options.min_typicality
            ):
                smooth = smoother.add(prediction) if smoother else None
                writer.writerow(columns.row(prediction, smooth))
                n_rows += 1
                n_read += prediction.probabilities is not None
                n_rejected += prediction.probabilities is not None and bool(prediction.rejected)
                picture = prediction.picture
                if options.plot and picture.time is not None:
                    if picture.frame == 0:
                        timelines.append((picture.path, Timeline(len(labels))))
                    timelines[-1][1].add(picture.time, smooth if smoother else prediction.probabilities)
    if options.plot:
        _plot(timelines, labels, options.plot)
    if n_read < n_rows:
        print(f"{n_rows - n_read} of {n_rows} rows have no prediction; see the column rejected.", file=sys.stderr)
    if n_rejected:
        shown = ", which the plot shows all the same" if options.plot else ""
        print(f"{n_rejected} of {n_rows} predictions are rejected; see the column rejected{shown}.", file=sys.stderr)
    return 0 if n_read else 1


def _check(options: argparse.Namespace, paths: list[str]) -> None:
    inputs = [options.model, *paths]
    if options.output:
        check_writable(options.output, inputs)
    if options.plot:
        check_writable(options.plot, inputs, "--plot")
        require_matplotlib("--plot")
        _check_plot(options.plot, paths)
    for option in ("min_confidence", "min_typicality"):
        value = getattr(options, option)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"--{option.replace('_', '-')} {value:g} was expected to be a share, from 0 to 1.")
    if options.batch_size < 1:
        raise ValueError(f"--batch-size {options.batch_size} was expected to be at least 1.")
    if options.smooth is not None and not options.smooth > 0:
        raise ValueError(f"--smooth {options.smooth} was expected to be seconds, more than 0.")


def _check_plot(output: str, paths: list[str]) -> None:
    """Refuse a plot of no videos, or of a format that there is not."""
    if Path(output).suffix.lower() not in figure_endings():
        raise ValueError(f"--plot {output} was expected to end in one of {', '.join(figure_endings())}.")
    if not any(map(is_video, paths)):
        raise ValueError("--plot draws probabilities over the time of videos, but no input is a video.")


def _plot(timelines: list[tuple[str, Timeline]], labels: list[str], output: str) -> None:
    """Draw the first few videos below each other."""
    from matplotlib.figure import Figure

    shown = timelines[:MOST_PLOTTED]
    if not shown:
        raise ValueError("--plot draws probabilities over the time of videos, but no frame of a video could be read.")
    figure = Figure(figsize=(10, 3.0 * len(shown)), layout="constrained")
    titles = short_names([path for path, _ in shown])
    for ax, title, (_, line) in zip(np.ravel(figure.subplots(len(shown), 1)), titles, shown, strict=True):
        TimelineDisplay(line.time, line.probabilities, labels, title=title).plot(ax)
    figure.savefig(with_folder(output), dpi=120)


def _expand(inputs: list[str]) -> list[str]:
    """Return the inputs with every folder replaced by the files in it; an empty folder stays, to be told of."""
    paths: list[str] = []
    for given in inputs:
        folder = Path(given).is_dir()
        found = [str(path) for path in find_files(given, IMAGE_SUFFIXES | VIDEO_SUFFIXES)] if folder else []
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
    with open(with_folder(output), "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield file


def _batches(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    remaining = iter(pictures)
    while batch := list(islice(remaining, size)):
        yield batch
