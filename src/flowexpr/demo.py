"""The demonstration: faces are drawn, a flow is trained beside a linear model, pictures are left."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import pca_lda
from flowexpr.datasets import make_faces
from flowexpr.display import FacesDisplay, LatentSpaceDisplay, MorphDisplay, TrainingDisplay
from flowexpr.display.axes import require_matplotlib
from flowexpr.evaluation import EvaluationResult, evaluate
from flowexpr.faces import FacePreparation
from flowexpr.resampling import LatentGaussians

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DemoSize", "run_demo"]


@dataclass(frozen=True)
class DemoSize:
    """How much the demonstration draws and trains."""

    n_subjects: int
    n_clips: int
    n_frames: int
    image_size: int
    n_splits: int
    max_epochs: int


FULL = DemoSize(n_subjects=29, n_clips=2, n_frames=4, image_size=32, n_splits=3, max_epochs=6)
QUICK = DemoSize(n_subjects=10, n_clips=2, n_frames=3, image_size=32, n_splits=2, max_epochs=5)


@dataclass(frozen=True)
class _Faces:
    """Images (n, H, W, 3) of the six expressions, and apart from them neutral ones of the same people."""

    images: np.ndarray
    y: np.ndarray
    subject: np.ndarray
    clip: np.ndarray
    neutral: np.ndarray
    neutral_subject: np.ndarray


def run_demo(
    folder: str | Path = "flowexpr-demo",
    *,
    quick: bool = False,
    size: DemoSize | None = None,
    random_state: int = 0,
) -> dict[str, Any]:
    """Draw faces, cross-validate the flow beside a linear baseline, and leave pictures and a model.

    Every number comes from images that the model in question was not trained on. Samples, morphs, training
    curves and the saved model are of the last subject-disjoint fold, so that the morphed people are new to
    it.

    Parameters
    ----------
    folder : str or Path, default="flowexpr-demo"
        Where to write; made if it is missing, files of an earlier run are replaced.
    quick : bool, default=False
        Fewer people, folds and epochs: under a minute, to see that everything works; the numbers mean little.
    size : DemoSize or None, default=None
        How much to draw and train, instead of the two built-in sizes.
    random_state : int, default=0
        Seed of the faces, the folds and the training.

    Returns
    -------
    results : dict
        What stands in `results.json`: settings, scores a fold, confusion matrices, versions, seconds.

    Raises
    ------
    ImportError
        If matplotlib is not installed; before anything is drawn.
    """
    require_matplotlib("flowexpr demo")
    start = time.perf_counter()
    size = size or (QUICK if quick else FULL)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    faces = _draw_faces(size, random_state)
    _say(
        f"Drew {len(faces.images)} faces of {size.n_subjects} people, {size.image_size} x {size.image_size} "
        "pixels, six expressions."
    )
    with _picture(folder / "faces.png", (10.6, 6.2)) as figure:
        ax = figure.add_subplot()
        FacesDisplay.from_images(faces.images, faces.y, subject=faces.subject, ax=ax)
        ax.set_xlabel("every column is one person", labelpad=8)
    _say(f"Training the flow {2 * size.n_splits} times: {size.n_splits} random folds, then as many by subject.")
    result = _cross_validate(faces, size, random_state)
    _say("Drawing the pictures.")
    _draw_pictures(folder, result, faces, random_state)
    model = result.estimators["flow", "subject"][-1]
    height, width, channels = model.image_shape_
    model.preprocessing_ = FacePreparation((height, width), channels == 1).state()  # drawn faces are crops already
    model.save(folder / "model.flowexpr")
    results = _results(result, size, time.perf_counter() - start)
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\n{result.to_text()}\n\n{_meaning(result)}\n\n{_contents(folder, results['seconds'])}", flush=True)
    return results


def mirror_half(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Mirror about half of the images (n, H, W, C), left to right; the demonstration's augmentation."""
    mirrored = generator.random(len(images)) < 0.5
    return np.where(mirrored[:, np.newaxis, np.newaxis, np.newaxis], images[:, :, ::-1], images)


def _draw_faces(size: DemoSize, random_state: int) -> _Faces:
    drawn = make_faces(
        size.n_subjects,
        neutral=True,
        n_clips=size.n_clips,
        n_frames=size.n_frames,
        image_size=size.image_size,
        random_state=random_state,
    )
    y = np.asarray(drawn.target_names)[drawn.target]
    neutral = y == "neutral"
    return _Faces(
        images=drawn.images[~neutral],
        y=y[~neutral],
        subject=drawn.subject[~neutral],
        clip=drawn.clip[~neutral],
        neutral=drawn.images[neutral],
        neutral_subject=drawn.subject[neutral],
    )


def _cross_validate(faces: _Faces, size: DemoSize, random_state: int) -> EvaluationResult:
    # A network of half the default width and more, smaller steps: it has learned in half a minute. Drawn faces
    # are aligned, so that mirroring is all the augmentation they need, and shifting them costs epochs.
    flow = FlowExpressionClassifier(
        hidden_channels=64,
        head_hidden_channels=64,
        batch_size=16,
        learning_rate=2e-3,
        augment=mirror_half,
        max_epochs=size.max_epochs,
        verbose=1,
        random_state=random_state,
    )
    return evaluate(
        {"linear": pca_lda(random_state=random_state), "flow": flow},
        faces.images,
        faces.y,
        subject=faces.subject,
        clip=faces.clip,
        protocols=("random", "subject"),
        n_splits=size.n_splits,
        random_state=random_state,
        progress=True,
        return_estimators=True,
    )


def _draw_pictures(folder: Path, result: EvaluationResult, faces: _Faces, random_state: int) -> None:
    model = result.estimators["flow", "subject"][-1]
    new_people = np.unique(faces.subject[_last_test_rows(result, "subject")])
    with _picture(folder / "samples.png", (9.6, 6.0)) as figure:
        ax = figure.add_subplot()
        known = ~np.isin(faces.subject, new_people)
        samples = sample_around(model, faces.images[known], faces.y[known], 9, random_state=random_state)
        FacesDisplay(samples).plot(ax)
        ax.set_title("invented people: latents drawn around the average of each expression")
    with _picture(folder / "morph.png", (8.8, 1.1 * min(5, len(new_people)) + 0.8)) as figure:
        ax = figure.add_subplot()
        shown = new_people[:5]
        start = np.stack([faces.neutral[faces.neutral_subject == person][0] for person in shown])
        display = MorphDisplay.from_estimator(model, start, names=[f"person {person}" for person in shown], ax=ax)
        labels = ["neutral", *(str(label) for label in display.morphs)]
        ax.set_xticks(ax.get_xticks(), labels)
        ax.set_title("people the model never saw, from a neutral face to each expression")
    with _picture(folder / "latent_map.png", (12, 12.4)) as figure:
        _draw_latents(figure, result, faces, random_state)
    with _picture(folder / "confusion.png", (12, 5.6)) as figure:
        _draw_confusion(figure, result)
    with _picture(folder / "training.png", (6.4, 6.0)) as figure:
        TrainingDisplay.from_estimator(model, ax=figure.add_subplot())


def sample_around(
    model: FlowExpressionClassifier,
    X: np.ndarray,
    y: np.ndarray,
    n_samples: int,
    *,
    temperature: float = 0.8,
    random_state: int | None = None,
) -> dict[Any, np.ndarray]:
    """Draw faces around the latents of the training faces, the same invented people for every class.

    Parameters
    ----------
    model : FlowExpressionClassifier
        A classifier fitted on images.
    X : ndarray of shape (n, H, W, C)
        The images it was fitted on.
    y : ndarray of shape (n,)
        Their labels.
    n_samples : int
        Faces a class.
    temperature : float, default=0.8
        Scale of the deviations from the average of a class.
    random_state : int or None, default=None
        Seed of the deviations.

    Returns
    -------
    faces : dict of label to ndarray of shape (n_samples, H, W, C)
        The i-th faces of all classes share their deviation: one invented person with every expression.
    """
    latents = model.encode(X, y)
    names = sorted(name for name in latents if name not in ("z1_prime", "y"))
    fitted = LatentGaussians([latents[name] for name in names], np.searchsorted(model.classes_, y))
    deviations = fitted.draw_deviations(n_samples, temperature, np.random.RandomState(random_state))
    faces = {}
    for i, label in enumerate(model.classes_):
        levels = fitted.latents(np.full(n_samples, i), deviations)
        faces[label] = model.decode(dict(zip(names, levels, strict=True)))
    return faces


def _draw_latents(figure: Figure, result: EvaluationResult, faces: _Faces, random_state: int) -> None:
    titles = {
        "random": "new frames of known people (last random fold)",
        "subject": "people the model never saw (last fold by subject)",
    }
    for part, (protocol, title) in zip(figure.subfigures(2, 1, squeeze=False).ravel(), titles.items(), strict=True):
        rows = _last_test_rows(result, protocol)
        LatentSpaceDisplay.from_estimator(
            result.estimators["flow", protocol][-1],
            faces.images[rows],
            faces.y[rows],
            subject=faces.subject[rows],
            random_state=random_state,
            ax=part.add_subplot(),
        )
        part.suptitle(title)


def _draw_confusion(figure: Figure, result: EvaluationResult) -> None:
    for ax, protocol in zip(figure.subplots(1, 2), ("random", "subject"), strict=True):
        matrix = 100 * result.confusion_matrix("flow", protocol, normalize="true")
        display = ConfusionMatrixDisplay(matrix, display_labels=result.classes)
        display.plot(ax=ax, values_format=".0f", cmap="Blues", colorbar=False, xticks_rotation=45)
        ax.set_title(f"flow, {protocol} folds (% of the true expression)")


def _last_test_rows(result: EvaluationResult, protocol: str) -> np.ndarray:
    pooled = result.predictions["flow", protocol]
    return pooled.index[pooled.fold == pooled.fold.max()]


@contextmanager
def _picture(path: Path, figsize: tuple[float, float]) -> Iterator[Figure]:
    """Give a figure and write it at the end, without pyplot, so that no window and no state is left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, layout="constrained")
    yield figure
    figure.savefig(path, dpi=120)


def _results(result: EvaluationResult, size: DemoSize, seconds: float) -> dict[str, Any]:
    model = result.estimators["flow", "subject"][-1]
    return {
        "seconds": round(seconds, 1),
        "size": asdict(size),
        "n_parameters": int(model.n_parameters_),
        "versions": result.settings["versions"],
        **json.loads(result.to_json(predictions=False)),
    }


def _meaning(result: EvaluationResult) -> str:
    mean = {(row["estimator"], row["protocol"]): row["accuracy"] for row in result.summary()}
    known, new = mean["flow", "random"], mean["flow", "subject"]
    chance = 1 / len(result.classes)
    lines = [
        f"The flow names the expression of people it knows from other frames in {known:.1%} of the",
        f"images, and of people it never saw in {new:.1%}; guessing would give {chance:.1%}. Only the",
        "second number says anything about somebody new. The faces are drawn, not photographed: this",
        "shows that the installation works and how far the two protocols lie apart, not how well real",
        "faces are recognised.",
    ]
    behind = [name for name in ("random", "subject") if mean["flow", name] <= mean["linear", name]]
    if behind:
        lines.append(f"Here the flow is not above the linear baseline on: {', '.join(behind)}.")
    return "\n".join(lines)


def _contents(folder: Path, seconds: float) -> str:
    files = {
        "faces.png": "some of the faces, a row for every expression, a column for every person",
        "samples.png": "invented people from the latent space, with every expression",
        "morph.png": "unseen people, from neutral to the six expressions",
        "latent_map.png": "z'1 in two dimensions, by expression and by subject, for known and for new people",
        "confusion.png": "what was taken for what, in both protocols",
        "training.png": "both losses and the accuracy over the epochs",
        "model.flowexpr": "the model of the last fold by subject; flowexpr.load reads it",
        "results.json": "every number, with settings and versions",
    }
    lines = [f"  {folder / name}: {text}" for name, text in files.items()]
    return "\n".join([f"Done in {seconds:.0f} s. Look at:", *lines])


def _say(text: str) -> None:
    print(text, flush=True)
