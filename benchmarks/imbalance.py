"""Rare expressions: class weights and generated faces, and generated faces instead of real ones (section V).

    python benchmarks/imbalance.py [CK+48:ck+48] [--folds 5] [--max-folds 2] [--steps 300] [--resume DIR]

A data set is FOLDER or FOLDER:LAYOUT, as in setting.py; without one, faces are drawn. In every fold by subject, a
flow is trained on the training fold, without and with class_weight="balanced". The flow of the first kind then draws
faces around the latents of that training fold, from which a CNN and a flow are trained again: on the real faces filled
up with generated ones, and on as many generated faces alone as there are real ones of the largest class.
"""

import argparse
import time
from typing import Any

import numpy as np
import reporting
import setting
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import GroupKFold

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier


def training_sets(flow: Any, X: NDArray[Any], y: NDArray[Any]) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Return the training fold as it is, filled up, and generated faces alone, a class as many as the largest has."""
    largest = int(np.unique(y, return_counts=True)[1].max())
    X_more, y_more = flow.oversample(X, y, n_per_class=2 * largest)
    n = len(X)
    generated = np.concatenate(
        [n + np.flatnonzero(y_more[n:] == label)[:largest] for label in flow.classes_],
    )
    return {
        "real": (X, y),
        "real, rare classes filled up": flow.oversample(X, y),
        "generated alone": (X_more[generated], y_more[generated]),
    }


def one_fold(
    X: NDArray[Any], y: NDArray[Any], train: NDArray[Any], test: NDArray[Any], options: argparse.Namespace
) -> dict[str, tuple[float, float, float]]:
    """Return accuracy, balanced accuracy and the recall of the rarest class, of every classifier."""
    common = {"random_state": options.seed, "max_steps": options.steps}
    labels, counts = np.unique(y, return_counts=True)
    rarest = labels[counts.argmin()]

    def scores(classifier: Any) -> tuple[float, float, float]:
        predicted = classifier.predict(X[test])
        recall = np.mean(predicted[y[test] == rarest] == rarest) if (y[test] == rarest).any() else np.nan
        return accuracy_score(y[test], predicted), balanced_accuracy_score(y[test], predicted), float(recall)

    flow = FlowExpressionClassifier(**common).fit(X[train], y[train])
    balanced = FlowExpressionClassifier(class_weight="balanced", **common).fit(X[train], y[train])
    rows = {"flow, real": scores(flow), "flow, real, class_weight balanced": scores(balanced)}
    for name, (X_fold, y_fold) in training_sets(flow, X[train], y[train]).items():
        rows[f"CNN, {name}"] = scores(CNNExpressionClassifier(**common).fit(X_fold, y_fold))
        if name != "real":
            rows[f"flow, {name}"] = scores(FlowExpressionClassifier(**common).fit(X_fold, y_fold))
    return rows


def main() -> None:
    """Run the folds and write the table."""
    parser = setting.parser(__doc__)
    parser.add_argument("--steps", type=int, help="optimiser steps of every fit, at most")
    setting.add_resume_option(parser)
    options = parser.parse_args()
    measure, of_fits = setting.kept(one_fold, options), argparse.Namespace(seed=options.seed, steps=options.steps)
    sets = setting.read_or_draw(options, n_clips=2, n_frames=2)
    parts = []
    for name, faces in sets.items():
        y = setting.labels(faces)
        folds = list(GroupKFold(options.folds).split(faces.images, y, faces.subject))[: options.max_folds]
        began, scored = time.perf_counter(), []
        for train, test in folds:
            scored.append(measure(faces.images, y, train, test, of_fits))
            print(f"{len(scored)} of {len(folds)} folds, {time.perf_counter() - began:.0f} s", flush=True)
        rows = []
        for row in scored[0]:
            values = 100 * np.nanmean([fold[row] for fold in scored], axis=0)
            rows.append([row, *(f"{value:.1f}" for value in values)])
        counts = ", ".join(f"{label} {n}" for label, n in zip(*np.unique(y, return_counts=True), strict=True))
        parts += [
            f"**{name}** ({counts}; {len(folds)} folds by subject)",
            reporting.table(["classifier, training faces", "accuracy", "balanced", "recall of the rarest"], rows),
        ]
    reporting.write("imbalance", "\n\n".join(parts))


if __name__ == "__main__":
    main()
