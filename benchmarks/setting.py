"""What the benchmarks on faces share: the data sets, the options of the command line, and folds by subject."""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from joblib import Memory
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from flowexpr.datasets import load_faces, make_faces
from flowexpr.datasets.layouts import LAYOUTS as NAMED
from flowexpr.datasets.layouts import named_by
from flowexpr.evaluation import EvaluationResult, evaluate
from flowexpr.faces import find_images
from flowexpr.faces.dataset import DESCRIPTION
from flowexpr.faces.manifest import MANIFEST

LAYOUTS: dict[str, dict[str, Any]] = {
    "ck+48": {"classes": ("anger", "disgust", "fear", "happy", "sadness", "surprise")},
    "jaffe": {
        "classes": ("anger", "disgust", "fear", "happiness", "sadness", "surprise"),
        "crop": (0.25, 0.3, 0.75, 0.9),
        "image_size": 64,
    },
}
"""What is read of these layouts of `load_faces`, and how."""

OTHERS: dict[str, Any] = {"image_size": "auto"}
"""How all other data sets are read: every class, images as they are where they are small, else 64 x 64."""

NEUTRAL = "neutral"
"""What a neutral face is called in JAFFE's and KDEF's layouts, and in drawn faces."""


def split(argument: str) -> tuple[Path, str | None]:
    """Split FOLDER:LAYOUT, if it ends in a layout that `load_faces` knows; else all of it is the folder."""
    folder, _, layout = argument.rpartition(":")
    return (Path(folder), layout) if folder and layout in (*NAMED, "folder", "manifest") else (Path(argument), None)


def layout_of(argument: str) -> str | None:
    """Return the layout that was given, or the first well-known one that names every image of the folder.

    None where there is none, or a manifest says what the images are.
    """
    folder, layout = split(argument)
    if layout or not folder.is_dir() or any((folder / name).is_file() for name in (MANIFEST, DESCRIPTION)):
        return layout
    names = [PurePosixPath(path.relative_to(folder).as_posix()) for path in find_images(folder)]
    return next((layout for layout, reader in NAMED.items() if all(named_by(reader, name) for name in names)), None)


def read(argument: str, *, neutral: bool = False, need_subjects: bool = True) -> tuple[str, Bunch]:
    """Return the name of FOLDER or FOLDER:LAYOUT, and its faces, neutral ones among them if asked for.

    Leaves with a message where that fails, or where it is not known who is seen and that is needed.
    """
    folder, layout = split(argument)[0], layout_of(argument)
    how = LAYOUTS.get(layout or "", OTHERS)
    if neutral and "classes" in how:
        how = how | {"classes": (*how["classes"], NEUTRAL)}
    try:
        faces = load_faces(folder, layout=layout, **how)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{argument}: {error}") from error
    if need_subjects and faces.subject is None:
        raise SystemExit(
            f"{argument}: folds by subject need the subject of every image, which nothing tells here. Name the layout "
            f"(FOLDER:LAYOUT, one of {', '.join(NAMED)}), or write a manifest with a column subject."
        )
    return folder.resolve().name, faces


def read_all(
    arguments: Iterable[str], *, neutral: bool = False, need_subjects: bool = True
) -> Iterator[tuple[str, Bunch]]:
    """Yield what `read` returns of each; a name that came before gets a number."""
    seen: Counter[str] = Counter()
    for argument in arguments:
        name, faces = read(argument, neutral=neutral, need_subjects=need_subjects)
        seen[name] += 1
        yield (name if seen[name] == 1 else f"{name} ({seen[name]})"), faces


def labels(faces: Bunch) -> np.ndarray:
    """Return the name of every image's expression, (n,)."""
    return np.asarray(faces.target_names)[faces.target]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the data sets, and of the options that folds by subject need."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", nargs="*", metavar="FOLDER[:LAYOUT]", help="default: drawn faces")
    made.add_argument("--folds", type=int, default=5)
    made.add_argument("--max-folds", type=int, help="the first folds only, to save time")
    made.add_argument("--seed", type=int, default=0)
    return made


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate_by_subject`."""
    parser.add_argument("--jobs", type=int, help="folds at a time, one thread each")
    add_resume_option(parser)


def add_resume_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of `kept` and `evaluate_by_subject`."""
    parser.add_argument("--resume", metavar="DIR", help="where fits are kept, as soon as they are done")


def kept(one_fold: Callable[..., Any], options: argparse.Namespace) -> Callable[..., Any]:
    """Return a function whose results are kept in the folder of --resume, by its arguments and its own text."""
    return Memory(options.resume, verbose=0).cache(one_fold)


def read_or_draw(options: argparse.Namespace, *, neutral: bool = False, **drawn: Any) -> dict[str, Bunch]:
    """Read all data sets that are asked for, all with subjects; or draw 20 people, with what else is given."""
    if not options.data:
        return {"drawn faces": make_faces(20, neutral=neutral, image_size=32, random_state=options.seed, **drawn)}
    return dict(read_all(options.data, neutral=neutral))


def evaluate_by_subject(
    estimators: Mapping[str, BaseEstimator], faces: Bunch, options: argparse.Namespace
) -> EvaluationResult:
    """Evaluate on folds by subject, and keep the fitted estimators."""
    return evaluate(
        estimators,
        faces.images,
        labels(faces),
        subject=faces.subject,
        clip=faces.clip,
        protocols=["subject"],
        n_splits=options.folds,
        n_jobs=options.jobs,
        max_folds=options.max_folds,
        checkpoint_dir=options.resume,
        progress=True,
        return_estimators=True,
    )
