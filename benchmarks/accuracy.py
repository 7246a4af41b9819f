"""Accuracy on real faces: the flow, both heads, against a CNN and machines on pixels and gradients, on identical folds.

    python benchmarks/accuracy.py CK+48:ck+48 jaffe:jaffe [--protocols subject] [--seeds 3] [--resume DIR]

A data set is FOLDER:LAYOUT, of the layouts in setting.py. The random folds are ten, the paper's; those by clip and by
subject are five. Intervals are of the mean over subjects, not over images. Every fit stands in DIR as soon as it is
done, and the same command goes on from there. With several seeds a subject's accuracy is the mean over them.
"""

import argparse
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import reporting
import setting
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier, hog_svm, pca_lda, pca_svm
from flowexpr.evaluation import EvaluationResult, evaluate
from flowexpr.evaluation.statistics import mean_interval

N_SPLITS = {"random": 10}
MOST_SPLITS = 5
COLUMNS = ("accuracy over subjects", "95 % interval", "balanced", "log loss", "ECE", "s a fold", "GiB")


def estimators(seed: int) -> dict[str, BaseEstimator]:
    """Return all that are compared; flow and CNN share augmentation, schedule, averaging and views."""
    return {
        "flow": FlowExpressionClassifier(random_state=seed),
        "flow, FlowGMM head": FlowExpressionClassifier(head="gmm", random_state=seed),
        "CNN": CNNExpressionClassifier(random_state=seed),
        "PCA + LDA": pca_lda(random_state=seed),
        "PCA + SVM": pca_svm(random_state=seed),
        "HOG + SVM": hog_svm(),
    }


def evaluate_one(
    estimator: BaseEstimator, name: str, faces: Bunch, protocol: str, options: argparse.Namespace
) -> tuple[EvaluationResult, float]:
    """Evaluate one estimator under one protocol, and return the highest resident GiB of this process beside it."""
    result = evaluate(
        {name: estimator},
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
    usage = resource.RUSAGE_SELF if options.jobs in (None, 1) else resource.RUSAGE_CHILDREN
    return result, resource.getrusage(usage).ru_maxrss / 2**20


def one_row(name: str, faces: Bunch, protocol: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what one row of the table says, over all seeds; every seed in a process of its own."""
    summaries, subjects, memory = [], [], []
    for seed in range(options.seeds):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            result, gib = pool.submit(evaluate_one, estimators(seed)[name], name, faces, protocol, options).result()
        summaries.append(result.summary()[0])
        subjects.append([row["accuracy"] for row in result.subject_scores(name, protocol)])
        memory.append(gib)
    by_subject = np.mean(subjects, axis=0)
    keys = ("balanced_accuracy", "log_loss", "ece", *(key for key in summaries[0] if key.startswith("recall_")))
    seconds = [(row["fit_seconds"] + row["predict_seconds"]) / row["folds"] for row in summaries]
    return {
        "name": name,
        "by_subject": by_subject,
        "interval": mean_interval(by_subject, 0, 1),
        "seconds": float(np.mean(seconds)),
        "gib": max(memory),
        **{key: float(np.mean([row[key] for row in summaries])) for key in keys},
    }


def data_table(rows: list[dict[str, Any]]) -> str:
    """Return the main table, a table of recalls, and the paired differences from the flow."""
    recalls = [key for key in rows[0] if key.startswith("recall_")]
    main_rows, recall_rows, paired = [], [], []
    for row in rows:
        low, high = row["interval"]
        main_rows.append(
            [
                row["name"],
                f"{100 * row['by_subject'].mean():.1f}",
                f"{100 * low:.1f} to {100 * high:.1f}",
                f"{100 * row['balanced_accuracy']:.1f}",
                f"{row['log_loss']:.3f}",
                f"{row['ece']:.3f}",
                f"{row['seconds']:.1f}",
                f"{row['gib']:.1f}",
            ]
        )
        recall_rows.append([row["name"], *(f"{100 * row[key]:.0f}" for key in recalls)])
        difference = rows[0]["by_subject"] - row["by_subject"]
        if row is not rows[0]:
            low, high = mean_interval(difference, -1, 1)
            paired.append(
                [row["name"], f"{100 * difference.mean():+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"],
            )
    parts = [
        reporting.table(["", *COLUMNS], main_rows),
        "Recall of each class, per cent:",
        reporting.table(["", *(key.removeprefix("recall_") for key in recalls)], recall_rows),
    ]
    if paired:
        parts += [
            f"{rows[0]['name']} minus each, in points, paired over subjects:",
            reporting.table(["", "difference", "95 % interval"], paired),
        ]
    return "\n\n".join(parts)


def plot(tables: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """Draw every mean with its interval, a panel a data set and protocol."""
    figure = Figure(figsize=(4.2 * len(tables), 3.0), layout="constrained")
    axes = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for ax, ((data, protocol), rows) in zip(axes, tables.items(), strict=True):
        names = [row["name"] for row in rows][::-1]
        means = np.array([row["by_subject"].mean() for row in rows][::-1])
        ends = np.array([row["interval"] for row in rows][::-1])
        ax.errorbar(100 * means, names, xerr=100 * np.abs(ends.T - means), fmt="o", color="#0072B2", capsize=3)
        ax.set(title=f"{data}, {protocol}", xlabel="accuracy over subjects, %")
        ax.grid(True, axis="x", color="0.9")
        ax.spines[["top", "right"]].set_visible(False)
    reporting.FOLDER.mkdir(exist_ok=True)
    figure.savefig(reporting.FOLDER / "accuracy.svg")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def main() -> None:
    """Evaluate everything on everything; write the tables and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="FOLDER:LAYOUT")
    parser.add_argument("--protocols", type=_names, default=["random", "clip", "subject", "loso"], metavar="A,B")
    parser.add_argument("--estimators", nargs="+", default=list(estimators(0)), choices=list(estimators(0)))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-folds", type=int, help="the first folds only, to save time")
    parser.add_argument("--jobs", type=int, help="folds at a time, one thread each")
    parser.add_argument("--resume", metavar="DIR", help="where fits are kept")
    options = parser.parse_args()
    tables, parts = {}, []
    for argument in options.data:
        name, faces = setting.read(argument)
        for protocol in options.protocols:
            if protocol == "clip" and faces.clip is None:
                continue
            tables[name, protocol] = [one_row(row, faces, protocol, options) for row in options.estimators]
            parts.append(f"**{name}, {protocol}** ({len(faces.images)} images, {options.seeds} seeds)")
            parts.append(data_table(tables[name, protocol]))
    plot(tables)
    reporting.write("accuracy", "\n\n".join([*parts, "![](accuracy.svg)"]))


if __name__ == "__main__":
    main()
