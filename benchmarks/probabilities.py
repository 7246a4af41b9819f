"""Whether probabilities can be believed: calibration, abstaining and typicality, on people that no model has seen.

    python benchmarks/probabilities.py [CK+48:ck+48 jaffe:jaffe] [--folds 5] [--resume DIR] [--jobs 2]

A data set is FOLDER or FOLDER:LAYOUT, as in setting.py; without one, faces are drawn. Five folds by subject, whose
predictions are pooled. The calibration error is over ten bins of equal mass; beside it stands the 95th percentile of
what the same probabilities would show if they were perfect. Typicality is compared with that of digits, noise, faces in
shuffled pieces, upside-down faces and flat images, of the fold's own test faces. Every fit stands in DIR as soon as it
is done.
"""

from typing import Any

import numpy as np
import reporting
import setting
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss, roc_auc_score

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier
from flowexpr.calibration import expected_calibration_error, simulate_calibration_error
from flowexpr.evaluation import EvaluationResult

Images = NDArray[np.uint8]

N_PIECES = 4
"""Pieces along a side of a scrambled face."""
COVERAGE = 0.8


def foreign_images(faces: Images, seed: int) -> dict[str, Images]:
    """Return images that are no upright faces, as many as the given ones (n, H, W, C) and of their size."""
    random = np.random.default_rng(seed)
    n, height, width, channels = faces.shape
    digits = load_digits().images[random.integers(0, 1797, n)] * (255 / 16)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return {
        "digits": np.repeat(digits[:, rows][:, :, columns, None], channels, axis=3).astype(np.uint8),
        "noise": random.integers(0, 256, faces.shape).astype(np.uint8),
        "scrambled": np.stack([_scramble(face, random) for face in faces]),
        "upside down": np.ascontiguousarray(faces[:, ::-1]),
        "flat": np.broadcast_to(random.integers(0, 256, (n, 1, 1, channels)), faces.shape).astype(np.uint8),
    }


def _scramble(face: Images, random: np.random.Generator) -> Images:
    height, width = face.shape[0] // N_PIECES, face.shape[1] // N_PIECES
    shuffled = face.copy()
    corners = [(i * height, j * width) for i in range(N_PIECES) for j in range(N_PIECES)]
    for (to_y, to_x), k in zip(corners, random.permutation(len(corners)), strict=True):
        from_y, from_x = corners[k]
        shuffled[to_y : to_y + height, to_x : to_x + width] = face[from_y : from_y + height, from_x : from_x + width]
    return shuffled


def estimators(seed: int, steps: int | None) -> dict[str, Any]:
    """Return flow and CNN, each without and with a temperature."""
    common = {"random_state": seed, "max_steps": steps}
    return {
        "flow": FlowExpressionClassifier(**common),
        "flow, temperature": FlowExpressionClassifier(calibrate="temperature", **common),
        "CNN": CNNExpressionClassifier(**common),
        "CNN, temperature": CNNExpressionClassifier(calibrate="temperature", **common),
    }


def probability_table(result: EvaluationResult) -> str:
    """Return a row per estimator: accuracy, log loss, calibration error beside chance, errors at both coverages."""
    rows = []
    for (name, _), pooled in result.predictions.items():
        y = np.searchsorted(result.classes, pooled.y_true)
        error = expected_calibration_error(pooled.proba, y)
        chance = np.quantile(simulate_calibration_error(pooled.proba), 0.95)
        wrong = pooled.y_pred != pooled.y_true
        surest = np.argsort(-pooled.proba.max(1), kind="stable")[: round(COVERAGE * len(y))]
        temperatures = [getattr(fitted, "temperature_", 1.0) for fitted in result.estimators[name, "subject"]]
        rows.append(
            [
                name,
                f"{100 * (1 - wrong.mean()):.1f}",
                f"{log_loss(y, pooled.proba, labels=np.arange(len(result.classes))):.3f}",
                f"{error:.3f}",
                f"{chance:.3f}",
                f"{100 * wrong.mean():.1f}",
                f"{100 * wrong[surest].mean():.1f}",
                " ".join(f"{temperature:.2f}" for temperature in temperatures),
            ]
        )
    header = ["", "accuracy", "log loss", "ECE", "95 % of chance", "error", "error of the surest 80 %", "temperatures"]
    return reporting.table(header, rows)


def typicality_table(result: EvaluationResult, images: Images) -> str:
    """Return a row per fold: quantiles of the typicality of unseen faces, and the AUROC against each foreign kind."""
    pooled = result.predictions["flow", "subject"]
    rows, kinds = [], []
    for fold, flow in enumerate(result.estimators["flow", "subject"]):
        faces = images[pooled.index[pooled.fold == fold]]
        own = flow.typicality(faces)
        foreign = {kind: flow.typicality(X) for kind, X in foreign_images(faces, fold).items()}
        is_face = np.repeat([1, 0], len(faces))
        scores = [roc_auc_score(is_face, np.concatenate([own, values])) for values in foreign.values()]
        kinds = list(foreign)
        quantiles = " ".join(f"{value:.2f}" for value in np.quantile(own, [0.05, 0.25, 0.5, 0.75, 0.95]))
        rows.append([fold, quantiles, *(f"{score:.4f}" for score in scores)])
    return reporting.table(["fold", "typicality of unseen faces, 5 25 50 75 95 %", *kinds], rows)


def main() -> None:
    """Evaluate, and write the tables."""
    parser = setting.parser(__doc__)
    setting.add_fit_options(parser)
    names = list(estimators(0, None))
    parser.add_argument("--estimators", nargs="+", default=names, choices=names, help="the flow has to be among them")
    parser.add_argument("--steps", type=int, help="optimiser steps of every fit, at most")
    options = parser.parse_args()
    if "flow" not in options.estimators:
        parser.error("--estimators has to hold flow, whose typicality is measured.")
    sets = setting.read_or_draw(options, n_clips=2, n_frames=2)
    parts = []
    for name, faces in sets.items():
        chosen = {name: estimators(options.seed, options.steps)[name] for name in options.estimators}
        result = setting.evaluate_by_subject(chosen, faces, options)
        parts += [f"**{name}** ({len(faces.images)} images)", probability_table(result)]
        parts += ["AUROC of typicality, faces of unseen people against:", typicality_table(result, faces.images)]
    reporting.write("probabilities", "\n\n".join(parts))


if __name__ == "__main__":
    main()
