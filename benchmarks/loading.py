"""Loading: how long a training step waits for its images, from an array, a memmap and a folder of files.

    python benchmarks/loading.py [--images 2000] [--side 64]

The default model trains for an epoch on random images, of which the next batches are read and augmented in a thread
while a step runs. "Waiting" is the share of the epoch that the loop spends asking for the next batch; "alone" what
making the batches takes in a loop of its own, as a share of the same epoch: so much would be waited without the thread.
The memmap has been dropped from the system's cache before; the folder's files are read into an array first, image by
image, at the given rate.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import reporting
from PIL import Image

from flowexpr import FlowExpressionClassifier
from flowexpr.datasets import load_faces
from flowexpr.training import loop
from flowexpr.training.data import generator_for
from flowexpr.validation_split import hold_out

N_CLASSES = 6


class Watch:
    """Stands in for the loop's `ahead`, and adds up how long it is waited for."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.ahead = loop.ahead

    def __call__(self, items: Iterable[Any], n: int) -> Generator[Any, None, None]:
        """Yield what `ahead` yields."""
        made = self.ahead(items, n)
        try:
            while True:
                began = time.perf_counter()
                item = next(made, None)
                self.seconds += time.perf_counter() - began
                if item is None:
                    return
                yield item
        finally:
            made.close()


def measure(X: np.ndarray, y: np.ndarray) -> list[str]:
    """Return the seconds of an epoch, the share waited for images, and what making them takes alone."""
    watch = Watch()
    loop.ahead = watch
    try:
        clf = FlowExpressionClassifier(max_epochs=1, random_state=0).fit(X, y)
    finally:
        loop.ahead = watch.ahead
    epoch = clf.history_[0]["seconds"]
    data, _ = hold_out(clf, X.reshape(len(X), -1), y, None)
    began = time.perf_counter()
    for step, rows in enumerate(data.epoch(clf.batch_size_, generator_for(0, 0))):
        data.batch(rows, generator_for(0, 0, step, 1))
    alone = time.perf_counter() - began
    return [f"{epoch:.1f}", f"{100 * watch.seconds / epoch:.1f}", f"{100 * alone / epoch:.1f}"]


def main() -> None:
    """Measure an array, a memmap and a folder; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=64)
    options = parser.parse_args()
    shape = (options.images, options.side, options.side, 3)
    X = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    y = np.arange(options.images) % N_CLASSES
    rows = [["array", *measure(X, y)]]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "images.npy")
        np.save(path, X)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        rows.append(["memmap", *measure(np.load(path, mmap_mode="r"), y)])
        path.unlink()
        for i, image in enumerate(X):
            place = Path(name, f"class{y[i]}", f"{i}.png")
            place.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(place)
        began = time.perf_counter()
        faces = load_faces(name)
        rate = options.images / (time.perf_counter() - began)
        rows.append([f"folder, read at {rate:.0f} images/s", *measure(faces.images, faces.target)])
    header = ["images from", "epoch, s", "waiting, %", "alone, %"]
    reporting.write(
        "loading", f"{options.images} images of {shape[1]} x {shape[2]} x 3.\n\n{reporting.table(header, rows)}"
    )


if __name__ == "__main__":
    main()
