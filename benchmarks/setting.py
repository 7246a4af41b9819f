"""What the benchmarks on faces share: the data sets, the options of the command line, and folds by subject."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from flowexpr.datasets import load_faces, make_faces
from flowexpr.evaluation import EvaluationResult, evaluate

LAYOUTS: dict[str, dict[str, Any]] = {
    "ck+48": {"classes": ("anger", "disgust", "fear", "happy", "sadness", "surprise")},
    "jaffe": {
        "classes": ("anger", "disgust", "fear", "happiness", "sadness", "surprise"),
        "crop": (0.25, 0.3, 0.75, 0.9),
        "image_size": 64,
    },
}
"""What is read of each layout of `load_faces`, and how."""


def read(argument: str) -> tuple[str, Bunch]:
    """Read FOLDER:LAYOUT; return the folder's name and the faces."""
    folder, _, layout = argument.rpartition(":")
    if layout not in LAYOUTS or not folder:
        raise SystemExit(f"{argument!r} was expected to be FOLDER:LAYOUT with one of the layouts {', '.join(LAYOUTS)}.")
    return Path(folder).name, load_faces(folder, layout=layout, **LAYOUTS[layout])


def labels(faces: Bunch) -> np.ndarray:
    """Return the name of every image's expression, (n,)."""
    return np.asarray(faces.target_names)[faces.target]


def parser(description: str | None, metavar: str = "FOLDER:LAYOUT") -> argparse.ArgumentParser:
    """Return a parser of the data sets, and of the options that folds by subject need."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", nargs="*", metavar=metavar, help="default: drawn faces")
    made.add_argument("--folds", type=int, default=5)
    made.add_argument("--max-folds", type=int, help="the first folds only, to save time")
    made.add_argument("--seed", type=int, default=0)
    return made


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate_by_subject`."""
    parser.add_argument("--jobs", type=int, help="folds at a time, one thread each")
    parser.add_argument("--resume", metavar="DIR", help="where fits are kept")


def read_or_draw(options: argparse.Namespace, **drawn: Any) -> dict[str, Bunch]:
    """Read all data sets that are asked for, or draw 20 people, with what else is given to `make_faces`."""
    if options.data:
        return dict(map(read, options.data))
    return {"drawn faces": make_faces(20, image_size=32, random_state=options.seed, **drawn)}


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
