"""Accuracy on real faces: the flow, both heads, against a CNN and machines on pixels and gradients, on identical folds.

    python benchmarks/accuracy.py CK+48 jaffe [--protocols subject] [--seeds 3] [--resume DIR]

A data set is FOLDER or FOLDER:LAYOUT, as in setting.py; protocols for which nothing tells the subjects or clips are
left out. The random folds are ten, the paper's; those by clip and by subject are five. Intervals are of the mean over
subjects, not over images. With several seeds a subject's accuracy is the mean over them. "Balanced" is the mean of the
recalls of all classes tested, which are over all test images, as log loss and calibration error (ECE) are. Seconds are
the median over folds. GiB are the
peak of a process that does the first of the ten random folds and nothing else, of flow and CNN 20 steps of it, since
no later step needs more. Every fit stands in DIR as soon as it is done, and the same command goes on from there.
"""

import argparse
from typing import Any

import numpy as np
import reporting
import setting
from matplotlib.figure import Figure
from resident import peak_gib
from sklearn.base import BaseEstimator
from sklearn.metrics import log_loss, recall_score
from sklearn.utils import Bunch

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier, hog_svm, pca_lda, pca_svm
from flowexpr.evaluation import EvaluationResult, evaluate
from flowexpr.evaluation.protocols import PROTOCOLS, possible_protocols
from flowexpr.evaluation.statistics import mean_interval

N_SPLITS = {"random": 10}
MOST_SPLITS = 5
STEPS_OF_MEMORY = 20
COLUMNS = ("accuracy over subjects", "95 % interval", "balanced", "log loss", "ECE", "s a fold", "GiB")
Row = dict[str, Any]


def estimators(seed: int, steps: int | None = None) -> dict[str, BaseEstimator]:
    """Return all that are compared; flow and CNN share augmentation, schedule, averaging and views."""
    return {
        "flow": FlowExpressionClassifier(random_state=seed, max_steps=steps),
        "flow, FlowGMM head": FlowExpressionClassifier(head="gmm", random_state=seed, max_steps=steps),
        "CNN": CNNExpressionClassifier(random_state=seed, max_steps=steps),
        "PCA + LDA": pca_lda(random_state=seed),
        "PCA + SVM": pca_svm(random_state=seed),
        "HOG + SVM": hog_svm(),
    }


def one_row(name: str, faces: Bunch, protocol: str, options: argparse.Namespace) -> Row:
    """Return what one row of the table says, over all seeds."""
    summaries, subjects, recalls, losses, seconds = [], [], [], [], []
    for seed in range(options.seeds):
        result = evaluate(
            {name: estimators(seed, options.steps)[name]},
            faces.images,
            setting.labels(faces),
            subject=faces.subject,
            clip=faces.clip,
            protocols=[protocol],
            n_splits=N_SPLITS.get(protocol, MOST_SPLITS),
            n_jobs=options.jobs,
            max_folds=options.max_folds,
            checkpoint_dir=options.resume,
            progress=True,
        )
        summaries.append(result.summary()[0])
        subjects.append(accuracies(result, name, protocol))
        recalls.append(recall_of_classes(result, name, protocol))
        losses.append(log_loss_of(result, name, protocol))
        seconds += [score.fit_seconds + score.predict_seconds for score in result.folds]
    return {
        "name": name,
        "by_subject": np.mean(subjects, axis=0),
        "recalls": {label: float(np.mean([found[label] for found in recalls])) for label in recalls[0]},
        "seconds": float(np.median(seconds)),
        "log_loss": float(np.mean(losses)),
        "ece": float(np.mean([row["ece"] for row in summaries])),
    }


def accuracies(result: EvaluationResult, name: str, protocol: str) -> np.ndarray:
    """Return the accuracy of every subject, or, where nobody knows who is seen, the one over all images."""
    pooled = result.pooled(name, protocol)
    if pooled.subject is None:
        return np.array([np.mean(pooled.y_true == pooled.y_pred)])
    return np.array([row["accuracy"] for row in result.subject_scores(name, protocol)])


def log_loss_of(result: EvaluationResult, name: str, protocol: str) -> float:
    """Return the log loss over all test images, nats."""
    pooled = result.pooled(name, protocol)
    columns = np.arange(len(result.classes))
    return float(log_loss(np.searchsorted(result.classes, pooled.y_true), pooled.proba, labels=columns))


def recall_of_classes(result: EvaluationResult, name: str, protocol: str) -> dict[str, float]:
    """Return the recall of every class over all test images, NaN where none of it was tested."""
    pooled = result.pooled(name, protocol)
    recalls = recall_score(pooled.y_true, pooled.y_pred, labels=result.classes, average=None, zero_division=np.nan)
    return dict(zip(map(str, result.classes), recalls.tolist(), strict=True))


def as_interval(values: np.ndarray, low: float, high: float, form: str) -> str:
    """Return the 95 % interval of a mean in per cent, "-" where one value alone gives none."""
    ends = mean_interval(values, low, high)
    return "-" if ends[0] is None else f"{100 * ends[0]:{form}} to {100 * ends[1]:{form}}"


def memory_of(name: str, faces: Bunch, options: argparse.Namespace) -> float:
    """Return the peak of resident memory, GiB, of one estimator on a random fold."""
    steps = STEPS_OF_MEMORY if options.steps is None else min(options.steps, STEPS_OF_MEMORY)
    estimator, y = estimators(0, steps)[name], setting.labels(faces)
    return peak_gib(
        estimator, faces.images, y, subject=faces.subject, n_splits=N_SPLITS["random"], resume=options.resume
    )


def data_table(rows: list[Row], gib: dict[str, float]) -> str:
    """Return the main table, a table of recalls, and the paired differences from the first row."""
    main_rows, recall_rows, paired = [], [], []
    for row in rows:
        recalls = list(row["recalls"].values())
        main_rows.append(
            [
                row["name"],
                f"{100 * row['by_subject'].mean():.1f}",
                as_interval(row["by_subject"], 0, 1, ".1f"),
                f"{100 * np.nanmean(recalls):.1f}",
                f"{row['log_loss']:.3f}",
                f"{row['ece']:.3f}",
                f"{row['seconds']:.1f}",
                f"{gib[row['name']]:.1f}",
            ]
        )
        recall_rows.append([row["name"], *("-" if np.isnan(recall) else f"{100 * recall:.0f}" for recall in recalls)])
        if row is not rows[0]:
            difference = rows[0]["by_subject"] - row["by_subject"]
            paired.append([row["name"], f"{100 * difference.mean():+.1f}", as_interval(difference, -1, 1, "+.1f")])
    parts = [
        reporting.table(["", *COLUMNS], main_rows),
        "Recall of each class, per cent:",
        reporting.table(["", *rows[0]["recalls"]], recall_rows),
    ]
    if paired:
        parts += [
            f"{rows[0]['name']} minus each, in points, paired over subjects:",
            reporting.table(["", "difference", "95 % interval"], paired),
        ]
    return "\n\n".join(parts)


def plot(tables: dict[tuple[str, str], list[Row]], page: str) -> None:
    """Draw every mean with its interval, where it has one, a panel a data set and protocol."""
    figure = Figure(figsize=(4.2 * len(tables), 3.0), layout="constrained")
    axes = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for ax, ((data, protocol), rows) in zip(axes, tables.items(), strict=True):
        names = [row["name"] for row in rows][::-1]
        means = np.array([row["by_subject"].mean() for row in rows][::-1])
        found = [mean_interval(row["by_subject"], 0, 1) for row in rows][::-1]
        ends = np.array([(mean, mean) if of[0] is None else of for mean, of in zip(means, found, strict=True)])
        ax.errorbar(100 * means, names, xerr=100 * np.abs(ends.T - means), fmt="o", color="#0072B2", capsize=3)
        ax.set(title=f"{data}, {protocol}", xlabel="accuracy over subjects, %")
        ax.grid(True, axis="x", color="0.9")
        ax.spines[["top", "right"]].set_visible(False)
    reporting.FOLDER.mkdir(exist_ok=True)
    figure.savefig(reporting.FOLDER / f"{page}.svg")


def choose_protocols(name: str, faces: Bunch, asked: list[str]) -> list[str]:
    """Return the protocols asked for that what is known of the images allows; leave where there is none."""
    known = [kind for kind in ("subject", "clip") if faces[kind] is not None]
    possible = [protocol for protocol in asked if protocol in possible_protocols(known)]
    if not possible:
        raise SystemExit(
            f"{name}: --protocols {','.join(asked)} needs to know who is seen, or in which clip, and of the images "
            f"{' and '.join(known) or 'neither'} is known. Name the layout (FOLDER:LAYOUT), write a manifest, or pass "
            "--protocols random."
        )
    return possible


def heading(name: str, protocol: str, faces: Bunch, options: argparse.Namespace) -> str:
    """Return the line above a table: what of, how much, and what it lacks."""
    parts = [f"{len(faces.images)} images", f"{options.seeds} seed{'s' if options.seeds != 1 else ''}"]
    parts += [f"the first {options.max_folds} folds"] if options.max_folds else []
    parts += [f"at most {options.steps} steps"] if options.steps else []
    parts += ["who is seen is not known: accuracy over images"] if faces.subject is None else []
    return f"**{name}, {protocol}** ({', '.join(parts)})"


def _protocols(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in PROTOCOLS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} was expected to be one of {', '.join(PROTOCOLS)}.")
    return names


def main() -> None:
    """Evaluate everything on everything; write the tables and the plot after each protocol."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="FOLDER[:LAYOUT]")
    parser.add_argument("--protocols", type=_protocols, default=list(PROTOCOLS), metavar="A,B")
    parser.add_argument("--estimators", nargs="+", default=list(estimators(0)), choices=list(estimators(0)))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="optimiser steps of every fit of flow and CNN, at most")
    parser.add_argument("--max-folds", type=int, help="the first folds only, to save time")
    parser.add_argument("--jobs", type=int, help="folds at a time, one thread each")
    parser.add_argument("--resume", metavar="DIR", help="where fits are kept")
    parser.add_argument("--page", default="accuracy", metavar="NAME", help="of the page that is written")
    options = parser.parse_args()
    tables: dict[tuple[str, str], list[Row]] = {}
    parts: list[str] = []
    for name, faces in setting.read_all(options.data, need_subjects=False):
        protocols = choose_protocols(name, faces, options.protocols)
        gib = {row: memory_of(row, faces, options) for row in options.estimators}
        for protocol in protocols:
            rows = [one_row(row, faces, protocol, options) for row in options.estimators]
            tables[name, protocol] = rows
            parts += [heading(name, protocol, faces, options), data_table(rows, gib)]
            plot(tables, options.page)
            reporting.write(options.page, "\n\n".join([*parts, f"![]({options.page}.svg)"]))


if __name__ == "__main__":
    main()
