"""Cost against size: images, image side, classes, flows and threads, each on a scale of doublings.

    python benchmarks/scaling.py [--axes images side classes flows threads]

Seconds of a training step and of `predict_proba`, a batch of 32, of the default model on random images; along
"images", the seconds of an epoch and of the rest of `fit` (before the first step, and what is measured on the trained
model), the images read from a memmap. Each figure comes from a process of its own. The last row is the slope of log
seconds against log size, from a quarter of the largest size, or less, to the largest: 1 is linear. Along "side", the
size is the number of pixels.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import reporting
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from resident import resident_gib

from flowexpr import FlowExpressionClassifier

SIZES = {
    "images": (1000, 5000, 10000, 50000),
    "side": (32, 64, 96, 128),
    "classes": (2, 6, 12, 25, 50),
    "flows": (4, 8, 16, 32, 64),
    "threads": (1, 2),
}
BASE = {"images": 96, "side": 32, "classes": 6, "flows": 4, "threads": 0}
COLUMNS = {
    "images": ("epoch, s", "rest of fit, s", "resident, GiB"),
    "else": ("training step, s", "prediction of 32, s"),
}
STRETCH = 4
"""Between two sizes whose slope is told: over less, the noise of one figure makes half of it."""
SMALL = {"hidden_channels": 16, "head_hidden_channels": 16, "n_flows": 1}
"""A model so small that reading is what takes the time."""


def measure(axis: str, size: int) -> list[float]:
    """Return the figures of one size."""
    chosen = BASE | {axis: size}
    if chosen["threads"]:
        torch.set_num_threads(chosen["threads"])
    random = np.random.default_rng(0)
    shape = (chosen["images"], chosen["side"], chosen["side"], 1)
    y = np.arange(chosen["images"]) % chosen["classes"]
    if axis == "images":
        with tempfile.TemporaryDirectory() as folder:
            return _measure_images(Path(folder) / "images.npy", shape, y, random)
    X = random.integers(0, 256, shape, dtype=np.uint8)
    clf = FlowExpressionClassifier(n_flows=chosen["flows"], max_epochs=3, batch_size=32, random_state=0).fit(X, y)
    steps = np.diff([row["steps"] for row in clf.history_])
    step = min(row["seconds"] / n for row, n in zip(clf.history_[1:], steps, strict=True))
    return [step, min(_seconds(clf, X[:32]) for _ in range(3))]


def _measure_images(path: Path, shape: tuple[int, ...], y: np.ndarray, random: np.random.Generator) -> list[float]:
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    for start in range(0, len(images), 1000):
        images[start : start + 1000] = random.integers(0, 256, images[start : start + 1000].shape, dtype=np.uint8)
    images.flush()
    X = np.load(path, mmap_mode="r")
    began = time.perf_counter()
    clf = FlowExpressionClassifier(**SMALL, max_epochs=1, batch_size=128, random_state=0).fit(X, y)
    epoch = clf.history_[0]["seconds"]
    return [epoch, time.perf_counter() - began - epoch, resident_gib()]


def _seconds(clf: FlowExpressionClassifier, X: np.ndarray) -> float:
    began = time.perf_counter()
    clf.predict_proba(X)
    return time.perf_counter() - began


def apart(axis: str, size: int) -> list[float]:
    """Measure in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", axis, str(size)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def axis_table(axis: str, curves: dict[int, list[float]]) -> str:
    """Return the table of one axis."""
    names = COLUMNS.get(axis, COLUMNS["else"])
    rows = [[size, *(f"{value:.3g}" for value in values)] for size, values in curves.items()]
    is_side = axis == "side"
    power = 2 if is_side else 1
    high = max(curves)
    low = max((size for size in curves if (high / size) ** power >= STRETCH), default=min(curves))
    slopes = np.log(np.divide(curves[high], curves[low])) / np.log((high / low) ** power)
    name = f"slope from {low}" + (", against pixels" if is_side else "")
    rows.append([name, *(f"{slope:.2f}" for slope in slopes)])
    return reporting.table([axis, *names], rows)


def plot(curves: dict[str, dict[int, list[float]]]) -> None:
    """Draw all axes, doubly logarithmic."""
    figure = Figure(figsize=(2.6 * len(curves), 2.8), layout="constrained")
    for ax, (axis, points) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        sizes = np.array(list(points))
        for i, label in enumerate(COLUMNS.get(axis, COLUMNS["else"])[:2]):
            ax.loglog(sizes, [values[i] for values in points.values()], marker="os"[i], label=label.removesuffix(", s"))
        ax.set_xticks(sizes, [f"{size // 1000}k" if size >= 1000 else f"{size}" for size in sizes])
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set(xlabel=axis, ylabel="seconds" if ax.get_subplotspec().is_first_col() else None)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize="small")
    reporting.FOLDER.mkdir(exist_ok=True)
    figure.savefig(reporting.FOLDER / "scaling.svg")


def main() -> None:
    """Measure along every axis; write the tables and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        axis, size = options.measure
        print(json.dumps(measure(axis, int(size))))
        return
    curves = {axis: {size: apart(axis, size) for size in SIZES[axis]} for axis in options.axes}
    plot(curves)
    tables = [axis_table(axis, points) for axis, points in curves.items()]
    reporting.write("scaling", "\n\n".join([*tables, "![](scaling.svg)"]))


if __name__ == "__main__":
    main()
