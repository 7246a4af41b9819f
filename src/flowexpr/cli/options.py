"""Options that several sub-commands share: which files to read and how, and what model to build of them."""

import argparse
import ast
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from flowexpr.classifier import FlowExpressionClassifier
from flowexpr.datasets import load_faces
from flowexpr.faces import FacePreparation
from flowexpr.faces.dataset import DESCRIPTION
from flowexpr.faces.manifest import MANIFEST
from flowexpr.faces.reading import IMAGE_SUFFIXES
from flowexpr.faces.video import VIDEO_SUFFIXES
from flowexpr.parameters import PAPER, check_parameters, resolve_device
from flowexpr.persistence import load

__all__ = [
    "add_data_options",
    "add_model_options",
    "add_reading_options",
    "build_classifier",
    "check_page",
    "check_writable",
    "comma_separated",
    "command_parser",
    "describe_faces",
    "figure_endings",
    "is_page",
    "preparation_of",
    "read_faces",
    "read_flow",
    "seed",
    "short_names",
    "time_and_memory",
    "with_folder",
]

LARGEST_SEED = 2**32 - 1


def figure_endings() -> list[str]:
    """Return the endings of files that matplotlib writes."""
    from matplotlib.figure import Figure

    return [f".{name}" for name in sorted(Figure().canvas.get_supported_filetypes())]


def command_parser(commands: Any, name: str, summary: str, details: str) -> argparse.ArgumentParser:
    """Add a sub-command whose help ends with examples."""
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the folder, and how files become labelled images."""
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="folder of images in sub-folders named by expression; or a manifest.csv (path,label,subject,clip), "
        "or a folder that holds one",
    )
    add_reading_options(parser)


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add how files become labelled images, whichever option names their folder."""
    data = parser.add_argument_group("images")
    data.add_argument(
        "--label",
        metavar="REGEX",
        help="expression, from the file name (first group, or the whole match) instead of the sub-folder; a pattern "
        "with a slash is searched in the path below FOLDER",
    )
    data.add_argument("--subject", metavar="REGEX", help="who is seen, from the file name in the same way")
    data.add_argument("--clip", metavar="REGEX", help="the recording, from the file name in the same way")
    data.add_argument("--classes", metavar="A,B,...", type=comma_separated, help="keep these expressions only")
    data.add_argument(
        "--image-size",
        metavar="SIZE",
        type=_size,
        default="auto",
        help="pixels, as 64 or HEIGHTxWIDTH; other proportions are cropped evenly. Default: as they come where all "
        "have one even size of at most 64, else 64",
    )
    data.add_argument("--grey", action="store_true", help="one grey channel; without it colour where there is any")
    data.add_argument(
        "--crop",
        metavar="BOX",
        type=_crop,
        help="'face' cuts out the largest face found (needs the extra [faces]); LEFT,TOP,RIGHT,BOTTOM is a box in "
        "shares of width and height, 0 to 1",
    )
    data.add_argument("--skip-unreadable", action="store_true", help="leave out files that cannot be read")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the parameters of the classifier that people change, and a way to set all the others."""
    model = parser.add_argument_group("model", "defaults are those of flowexpr.FlowExpressionClassifier")
    model.add_argument("--paper", action="store_true", help="start from the paper's settings (days on a CPU)")
    model.add_argument("--max-epochs", type=int, metavar="N", help="passes over the images")
    model.add_argument("--batch-size", type=int, metavar="N", help="images of a training step")
    model.add_argument("--learning-rate", type=float, metavar="X", help="highest learning rate")
    model.add_argument("--validation-fraction", type=float, metavar="X", help="share of the subjects to hold out")
    model.add_argument(
        "--calibrate",
        choices=["temperature"],
        help="fit a temperature on the subjects of --validation-fraction, or else on a tenth of all, whom a first "
        "training holds out: twice the time",
    )
    model.add_argument("--checkpoint-dir", metavar="DIR", help="go on from here when a killed command is run again")
    model.add_argument("--device", help="cpu, cuda or auto")
    model.add_argument("--precision", choices=["auto", "mixed", "float32", "float64"], help="number format")
    model.add_argument("--random-state", type=seed, default=0, metavar="SEED", help="default 0")
    model.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other parameter of FlowExpressionClassifier, such as --set n_flows=8 --set head=gmm; repeatable",
    )


def check_writable(output: str, inputs: Iterable[str | None] = (), option: str = "-o") -> None:
    """Fail before the work is done where a file could not be written after it, or would replace one of the inputs.

    Nothing is made yet. What else a folder among the inputs holds may be replaced.
    """
    path = Path(output).absolute()
    if path.is_file() and any(_is_read(path, Path(given)) for given in inputs if given is not None):
        raise ValueError(f"{option} {output} would replace an input. Pass another place.")
    if path.is_dir():
        raise ValueError(f"{option} {output} was expected to be a file, but is a folder. Pass a file in it.")
    try:
        nearest = next(place for place in (path, *path.parents) if place.exists())
        writable = os.access(nearest, os.W_OK) and (nearest == path or nearest.is_dir())
    except OSError:  # a folder that may not be looked into, or a name that is too long
        writable = False
    if not writable:
        raise ValueError(f"{option} {output} cannot be written in {path.parent}. Pass another place.")


def _is_read(path: Path, given: Path) -> bool:
    """Tell whether a file is an input: itself, or as an image, video or table of a folder."""
    try:
        if given.exists() and path.samefile(given):
            return True
        names = (MANIFEST, DESCRIPTION)
        is_of_folder = path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES or path.name in names
        return is_of_folder and given.is_dir() and path.resolve().is_relative_to(given.resolve())
    except OSError:  # a name that is too long, or a place that may not be looked into
        return False


def is_page(output: str) -> bool:
    """Tell by its ending whether an output is to be a page."""
    return Path(output).suffix.lower() in (".html", ".htm")


def check_page(output: str, option: str) -> None:
    """Refuse a file for a page that would be taken for something else."""
    if not is_page(output):
        raise ValueError(f"{option} {output} was expected to end in .html: it will be a page.")


def short_names(paths: Sequence[str]) -> list[str]:
    """Return what files are called in pictures: their names, or where several have one name the whole paths."""
    counts = Counter(Path(path).name for path in set(paths))
    return [path if counts[Path(path).name] > 1 else Path(path).name for path in paths]


def with_folder(output: str | Path) -> Path:
    """Return the path of a file that is written now, its folder made where it is missing."""
    path = Path(output)
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    return path


def read_faces(options: argparse.Namespace, memmap: str | None = None) -> Bunch:
    """Load what the data options ask for, into memory or that file, and say what was left out."""
    faces = load_faces(
        options.folder,
        label=options.label,
        subject=options.subject,
        clip=options.clip,
        classes=options.classes,
        image_size=options.image_size,
        grey=True if options.grey else None,
        crop=options.crop,
        skip_unreadable=options.skip_unreadable,
        memmap=memmap,
        verbose=int(sys.stderr.isatty()),
    )
    for (path, reason), count in Counter(faces.skipped).items():  # of a video every frame has an entry
        print(f"left out: {path} ({reason})" + (f", {count} frames" if count > 1 else ""), file=sys.stderr)
    return faces


def describe_faces(faces: Bunch) -> str:
    """Return two lines: how many images, of what size, of whom; and how many of each expression."""
    n, height, width, channels = faces.images.shape
    parts = [f"{n} images of {height} x {width} pixels, {'grey' if channels == 1 else 'colour'}"]
    if faces.subject is not None:
        parts.append(f"{len(np.unique(faces.subject))} subjects")
    if faces.clip is not None:
        pairs = faces.clip if faces.subject is None else np.char.add(np.char.add(faces.subject, "\n"), faces.clip)
        parts.append(f"{len(np.unique(pairs))} clips")
    counts = np.bincount(faces.target)
    classes = ", ".join(f"{name} {count}" for name, count in zip(faces.target_names, counts, strict=True))
    return f"{', '.join(parts)}\n{classes}"


def build_classifier(options: argparse.Namespace, *, verbose: int) -> FlowExpressionClassifier:
    """Build the classifier that the model options ask for; `verbose` is its default here."""
    parameters: dict[str, Any] = {"verbose": verbose} | (dict(PAPER) if options.paper else {})
    names = ("max_epochs", "batch_size", "learning_rate", "validation_fraction", "calibrate", "checkpoint_dir")
    for name in (*names, "device", "precision", "random_state"):
        value = getattr(options, name)
        if value is not None:
            parameters[name] = value
    known = FlowExpressionClassifier().get_params()
    for setting in options.set:
        name, equals, text = setting.partition("=")
        if not equals or name not in known:
            raise ValueError(
                f"--set {setting} was expected to be NAME=VALUE, NAME being one of {', '.join(sorted(known))}."
            )
        parameters[name] = _literal(text)
    check_parameters(known | parameters)
    resolve_device(parameters.get("device", "auto"))
    return FlowExpressionClassifier(**parameters)


def read_flow(path: str, device: str = "auto") -> FlowExpressionClassifier:
    """Load a model that `flowexpr fit` wrote; a CNN, which can be saved too, is refused."""
    model = load(path, device=device)
    if not isinstance(model, FlowExpressionClassifier):
        raise ValueError(
            f"{path} was expected to hold a flow, but holds a {type(model).__name__}. Call flowexpr.load in Python."
        )
    return model


def preparation_of(model: FlowExpressionClassifier, path: str) -> FacePreparation:
    """Return how files become what the model was fitted on."""
    if hasattr(model, "preprocessing_"):
        return FacePreparation.from_state(model.preprocessing_)
    if model.image_shape_ is None or model.image_shape_[2] not in (1, 3):
        raise ValueError(
            f"{path} was fitted on {_kind(model)}, which image files do not hold. "
            "Pass a model of grey or colour images."
        )
    print(f"{path} does not say how its images were cropped: pictures are taken as they are.", file=sys.stderr)
    return FacePreparation(model.image_shape_[:2], model.image_shape_[2] == 1)


def _kind(model: FlowExpressionClassifier) -> str:
    if model.image_shape_ is None:
        return f"vectors of {model.n_features_in_} features"
    return f"images with {model.image_shape_[2]} channels"


def time_and_memory(began: float) -> str:
    """Return the seconds since `began` (by `time.perf_counter`) and the process's largest resident memory."""
    seconds = f"{time.perf_counter() - began:.0f} s"
    try:
        import resource
    except ImportError:  # not on Windows
        return seconds
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{seconds}, {largest * (1 if sys.platform == 'darwin' else 1024) / 2**20:.0f} MiB of memory at most"


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def seed(text: str) -> int:
    """Read the seed of a random state, for argparse."""
    if not text.isdigit() or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"expected an integer from 0 to {LARGEST_SEED}, but came {text!r}")
    return int(text)


def comma_separated(text: str) -> list[str]:
    """Read a list of names, for argparse."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError(f"expected names, separated by commas, but came {text!r}")
    return names


def _size(text: str) -> Any:
    if text == "auto":
        return text
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"expected pixels as 64 or HEIGHTxWIDTH (48x64), or auto, but came {text!r}")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def _crop(text: str) -> Any:
    if text == "face":
        return text
    try:
        shares = tuple(float(share) for share in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != 4 or not all(math.isfinite(share) for share in shares):
        raise argparse.ArgumentTypeError(
            f"expected face, or LEFT,TOP,RIGHT,BOTTOM in shares (0.2,0.1,0.8,0.9), but came {text!r}"
        )
    return shares
