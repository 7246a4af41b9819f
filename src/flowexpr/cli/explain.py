"""``flowexpr explain``: why a model says what it says of an image, as a figure or a page."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowexpr.classifier import FlowExpressionClassifier
from flowexpr.cli.options import (
    check_writable,
    command_parser,
    figure_endings,
    is_page,
    preparation_of,
    read_flow,
    short_names,
    with_folder,
)
from flowexpr.datasets import load_faces
from flowexpr.datasets.entries import describe_files
from flowexpr.display import ExplanationDisplay
from flowexpr.display.axes import require_matplotlib
from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces import FacePreparation

__all__ = ["add_parser"]

DETAILS = r"""examples:
  flowexpr explain ck.flowexpr face.png -o face_explained.png
  flowexpr explain ck.flowexpr new/*.png --against fear --reference CK+48 --subject '^(S\d+)' -o explained.html

The figure: the face, the map of the evidence, its sum over the regions of the face, the probabilities, the way to the
nearest face that the model takes for the other expression, and with --reference the nearest faces of both. The sentence
is printed too. What is written shows the face: whoever gets the file can see it.
"""

FIGURE_SIZE = (12.5, 6.4)
"""Inches."""
DPI = 120


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = command_parser(commands, "explain", "show why a model says what it says of an image", DETAILS)
    parser.add_argument("model", metavar="MODEL", help="file that flowexpr fit (or save) wrote")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image file; several need an HTML page")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="figure (.png, .svg, .pdf ...) or page (.html)"
    )
    parser.add_argument(
        "--against",
        metavar="LABEL",
        help="expression to compare with; default the runner-up, which also stands in where LABEL is predicted",
    )
    parser.add_argument("--label", metavar="LABEL", help="expression to explain; default the predicted one")
    parser.add_argument(
        "--neutral",
        metavar="IMAGE|LABEL",
        help="where the map starts: a picture of the same person at rest, or an expression to move this face to. "
        "Default: neutral, where the model knows it and does not say it of this face; otherwise a tie of all "
        "expressions",
    )
    parser.add_argument("--reference", metavar="FOLDER", help="labelled faces, to show those that are nearest")
    parser.add_argument(
        "--subject",
        metavar="REGEX",
        help="who is seen, from the file name (first group, or the whole match): reference faces of that person are "
        "left out. Without it the folder's manifest tells, or else only the file itself is left out",
    )
    parser.add_argument("--crop", choices=["face", "none"], help="default as in training; none: cropped faces already")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto; default auto")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    check_writable(options.output, [options.model, *options.images, options.neutral, options.reference])
    suffix = Path(options.output).suffix.lower()
    if not is_page(options.output):
        require_matplotlib("flowexpr explain -o FIGURE")
        if suffix not in figure_endings():
            endings = sorted(figure_endings(), key=lambda ending: ending != ".png")
            raise ValueError(f"-o {options.output} was expected to end in .html or one of {', '.join(endings)}.")
        if len(options.images) > 1:
            raise ValueError(
                f"-o {options.output} takes one image, but {len(options.images)} came. Write a page: -o out.html."
            )
    model = read_flow(options.model, options.device)
    prepare = preparation_of(model, options.model)
    if options.crop is not None:
        prepare = replace(prepare, crop=None if options.crop == "none" else "face")
    reference = exclude = None
    if options.reference is not None:
        reference, whose = _reference(options.reference, prepare, model, options.subject)
        exclude = [whose(path) for path in options.images]
    elif options.subject is not None:
        raise ValueError("--subject says whom of the reference not to show, but no --reference was given.")
    explanations = model.explain(
        np.stack([_read(prepare, path) for path in options.images]),
        _label(model, "--against", options.against),
        label=_label(model, "--label", options.label),
        neutral=_neutral(model, prepare, options.neutral),
        reference=reference,
        exclude=exclude,
    )
    for path, one in zip(options.images, explanations, strict=True):
        print(f"{path}: {one.text}")
    if is_page(options.output):
        from flowexpr.report.explanations import write_explanations

        names = short_names(options.images)
        write_explanations(explanations, names, with_folder(options.output), f"Why {Path(options.model).name} says so")
    else:
        from matplotlib.figure import Figure

        figure = Figure(figsize=FIGURE_SIZE, layout="constrained")
        ExplanationDisplay(explanations[0]).plot(figure.add_subplot())
        figure.savefig(with_folder(options.output), dpi=DPI)
    print(f"wrote {options.output}")
    return 0


def _read(prepare: FacePreparation, path: str) -> NDArray[np.uint8]:
    """Read one image; an error names it."""
    if Path(path).is_dir():
        raise ValueError(
            f"{path} is a folder, but an image was expected. Pass its images: {path.rstrip('/')}/*.png, say."
        )
    try:
        return prepare.read(path)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{path}: {error}") from error


def _neutral(model: FlowExpressionClassifier, prepare: FacePreparation, text: str | None) -> Any:
    """Return where maps start from: a label of the model, or else the image of that path."""
    if text is None:
        return None
    written = _written(model)
    if text in written:
        return written[text]
    if not Path(text).exists():
        raise ValueError(f"--neutral {text} was expected to be an image or one of {', '.join(written)}.")
    return _read(prepare, text)[np.newaxis]


def _label(model: FlowExpressionClassifier, option: str, text: str | None) -> Any:
    """Return the model's label that is written so; labels may be numbers."""
    if text is None:
        return None
    written = _written(model)
    if text not in written:
        raise ValueError(f"{option} {text} was expected to be one of {', '.join(written)}.")
    return written[text]


def _written(model: FlowExpressionClassifier) -> dict[str, Any]:
    """Return the model's labels by how they are written."""
    return {str(label): label for label in model.classes_.tolist()}


def _reference(
    folder: str, prepare: FacePreparation, model: FlowExpressionClassifier, subject: str | None
) -> tuple[tuple[NDArray[Any], NDArray[Any], NDArray[Any]], Callable[[str], str]]:
    """Read labelled faces of the model's classes, prepared as the image is, with whose they are.

    Return them, and what tells whose any file is: its subject by its name or the folder's manifest, or the file itself.
    """
    faces = load_faces(folder, subject=subject, image_size=prepare.image_size, grey=prepare.grey, crop=prepare.crop)
    written = _written(model)
    is_known = np.array([name in written for name in faces.target_names])
    if not is_known.any():
        raise ValueError(
            f"--reference {folder} was expected to hold faces of {', '.join(written)}, but holds "
            f"{', '.join(faces.target_names)}."
        )
    if not is_known.all():
        others = ", ".join(faces.target_names[~is_known])
        print(f"--reference {folder}: left out what the model does not know: {others}", file=sys.stderr)
    kept = is_known[faces.target]
    labels = np.array([written.get(name) for name in faces.target_names[faces.target[kept]]])
    files = [Path(path).resolve() for path in faces.paths]
    people = files if faces.subject is None else faces.subject
    known = dict(zip(files, map(str, people), strict=True))

    def whose(path: str) -> str:
        file = Path(path).resolve()
        if file in known or subject is None:
            return known.get(file, str(file))
        try:
            (entry,) = describe_files([file], Path.cwd(), {"subject": subject}, None)
        except ValueError:
            print(f"{path}: --subject finds nobody in its name: nobody is left out of the reference.", file=sys.stderr)
            return str(file)
        return str(entry.subject)

    whose_reference = np.array([known[file] for file, is_kept in zip(files, kept, strict=True) if is_kept])
    return (faces.images[kept], labels, whose_reference), whose
