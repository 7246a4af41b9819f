"""Training that does not break: default settings on small data sets, many seeds.

    python benchmarks/stability.py [--seeds 20]

Counts fits that raised, fits of which something returned is not finite, and skipped steps.
"""

import argparse

import numpy as np
import reporting
from sklearn.datasets import load_digits, load_iris, load_wine

from flowexpr import FlowExpressionClassifier
from flowexpr.datasets import make_faces

HEADER = ["data", "fits", "raised", "not finite", "skipped steps"]


def data_sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return two tables and two sets of images, one of them with nearly constant pixels."""
    faces = make_faces(6, n_clips=1, n_frames=2, image_size=32, random_state=0)
    digits = load_digits()
    return {
        "iris (150 x 4)": load_iris(return_X_y=True),
        "wine (178 x 13)": load_wine(return_X_y=True),
        "digits (200 of 8 x 8, grey)": ((digits.images[:200] / 16).astype(np.float32), digits.target[:200]),
        "drawn faces (72 of 32 x 32, colour)": (faces.images, faces.target),
    }


def measure(name: str, X: np.ndarray, y: np.ndarray, n_seeds: int) -> list[str | int]:
    """Return the row of one data set; tell on the terminal what was raised."""
    raised = not_finite = skipped = 0
    for seed in range(n_seeds):
        try:
            clf = FlowExpressionClassifier(random_state=seed).fit(X, y)
        except Exception as error:  # counted, whatever it is
            print(f"{name}, seed {seed}: {error!r}", flush=True)
            raised += 1
            continue
        results = (clf.predict_proba(X), clf.score_samples(X), clf.transform(X), clf.sample(8, random_state=0)[0])
        not_finite += not all(np.isfinite(result).all() for result in results)
        skipped += sum(row["skipped_steps"] for row in clf.history_)
    return [name, n_seeds, raised, not_finite, skipped]


def main() -> None:
    """Run all seeds on all data sets; write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    n_seeds = parser.parse_args().seeds
    rows: list[list[str | int]] = []
    for name, (X, y) in data_sets().items():
        rows.append(measure(name, X, y, n_seeds))
        reporting.write("stability", reporting.table(HEADER, rows))


if __name__ == "__main__":
    main()
