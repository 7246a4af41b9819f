"""Accuracy against density: what the weight of the class loss, the paper's lambda, buys and costs.

    python benchmarks/tradeoff.py [CK+48:ck+48] [--folds 5] [--max-folds 2] [--resume DIR] [--jobs 2]

The flow with default settings but for `class_loss_weight`, on folds by subject; bits/dim are those of the trained model
on the training images as they are, and on the people left out. A data set is FOLDER or FOLDER:LAYOUT, as in setting.py;
without one, faces are drawn. Every fit stands in DIR as soon as it is done.
"""

import argparse
from typing import Any

import numpy as np
import reporting
import setting
from matplotlib.figure import Figure
from sklearn.utils import Bunch

from flowexpr import PAPER, FlowExpressionClassifier
from flowexpr.parameters import IMAGE_LOSS

MARKED = "#D55E00"
"""Colour of the paper's weight and of the default."""
WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
NAMES = {PAPER["class_loss_weight"]: " (paper)", IMAGE_LOSS[0]: " (default)"}
"""Weights that table and plot mark."""
HEADER = ["class_loss_weight", "accuracy", "of the folds", "log loss", "bits/dim, training", "bits/dim, left out"]


def measure(faces: Bunch, weight: float, options: argparse.Namespace) -> dict[str, Any]:
    """Return accuracy and log loss on the people left out, and the bits/dim of all."""
    name = f"{weight:g}"
    flow = FlowExpressionClassifier(class_loss_weight=weight, random_state=options.seed)
    result = setting.evaluate_by_subject({name: flow}, faces, options)
    pooled, fitted = result.predictions[name, "subject"], result.estimators[name, "subject"]
    tested = [pooled.index[pooled.fold == fold] for fold in range(len(fitted))]
    known = [np.delete(np.arange(len(faces.images)), rows) for rows in tested]
    summary = result.summary()[0]
    return {
        "weight": weight,
        "accuracy": summary["accuracy"],
        "folds": [row.accuracy for row in result.folds],
        "log_loss": summary["log_loss"],
        "training": mean_bits_per_dim(fitted, faces.images, known),
        "left_out": mean_bits_per_dim(fitted, faces.images, tested),
    }


def mean_bits_per_dim(flows: list[Any], images: np.ndarray, rows: list[np.ndarray]) -> float:
    """Return the mean over folds of the bits/dim of a fold's flow on its rows of the images."""
    return float(np.mean([flow.bits_per_dim(images[of]).mean() for flow, of in zip(flows, rows, strict=True)]))


def as_table(rows: list[dict[str, Any]]) -> str:
    """Return the table, the paper's weight and the default named."""
    cells = [
        [
            f"{row['weight']:g}{NAMES.get(row['weight'], '')}",
            f"{100 * row['accuracy']:.1f}",
            " ".join(f"{100 * value:.1f}" for value in row["folds"]),
            f"{row['log_loss']:.3f}",
            f"{row['training']:.3f}",
            f"{row['left_out']:.3f}",
        ]
        for row in rows
    ]
    return reporting.table(HEADER, cells)


def plot(curves: dict[str, list[dict[str, Any]]]) -> None:
    """Draw accuracy over bits/dim, a panel a data set, the weights beside their points."""
    figure = Figure(figsize=(4.6 * len(curves), 3.4), layout="constrained")
    for ax, (name, rows) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        x, y = [row["left_out"] for row in rows], [100 * row["accuracy"] for row in rows]
        ax.plot(x, y, "o-", color="#0072B2")
        for place, (row, at) in enumerate(zip(rows, zip(x, y, strict=True), strict=True)):
            text = f"{row['weight']:g}{NAMES.get(row['weight'], '')}"
            # By turns below to the right and above to the left, so that neighbours do not meet.
            offset, side = ((4, -12), "left") if place % 2 else ((-4, 6), "right")
            font = {"fontsize": 8, "color": MARKED if row["weight"] in NAMES else "black"}
            if row["weight"] in NAMES:
                ax.plot(*at, "o", color=MARKED)
            ax.annotate(text, at, offset, textcoords="offset points", ha=side, **font)
        ax.set(title=name, xlabel="bits/dim of people left out (lower is better)", ylabel="accuracy by subject, %")
        ax.margins(x=0.2, y=0.15)
        ax.grid(True, color="0.9")
        ax.spines[["top", "right"]].set_visible(False)
    reporting.FOLDER.mkdir(exist_ok=True)
    figure.savefig(reporting.FOLDER / "tradeoff.svg")


def main() -> None:
    """Measure every weight on every data set; write the tables and the plot."""
    parser = setting.parser(__doc__)
    setting.add_fit_options(parser)
    parser.add_argument("--weights", nargs="+", type=float, default=WEIGHTS)
    options = parser.parse_args()
    sets = setting.read_or_draw(options)
    curves = {name: [measure(faces, weight, options) for weight in options.weights] for name, faces in sets.items()}
    plot(curves)
    parts = [part for name, rows in curves.items() for part in (f"**{name}**", as_table(rows))]
    reporting.write("tradeoff", "\n\n".join([*parts, "![](tradeoff.svg)"]))


if __name__ == "__main__":
    main()
