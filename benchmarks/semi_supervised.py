"""Labels that are few: digits with five labels per class, the other rows unlabelled.

    python benchmarks/semi_supervised.py [--seeds 5]

Accuracies in per cent, mean over seeds of the labelled rows and of the split: of the flow on labelled and unlabelled
rows (held-out rows, and apart from them the unlabelled training rows), of the same flow on the labelled rows alone with
as many optimiser steps, and of LogisticRegression on them.
"""

import argparse
import time

import numpy as np
import reporting
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flowexpr import FlowExpressionClassifier

LABELS_PER_CLASS = 5
UNLABELLED = -1


def one_seed(seed: int, **parameters) -> dict[str, float]:
    """Return the accuracies of one split and one choice of labelled rows."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
    random = np.random.default_rng(seed)
    labelled = np.concatenate(
        [random.choice(np.flatnonzero(y == k), LABELS_PER_CLASS, replace=False) for k in range(10)]
    )
    y_partly = np.full_like(y, UNLABELLED)
    y_partly[labelled] = y[labelled]
    hidden = y_partly == UNLABELLED
    began = time.perf_counter()
    both = FlowExpressionClassifier(unlabeled=UNLABELLED, random_state=seed, **parameters).fit(X, y_partly)
    seconds = time.perf_counter() - began
    same_steps = {**parameters, "max_epochs": both.n_steps_, "max_steps": both.n_steps_}
    alone = FlowExpressionClassifier(random_state=seed, **same_steps).fit(X[labelled], y[labelled])
    assert alone.n_steps_ == both.n_steps_
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X[labelled], y[labelled])
    return {
        "flow, labelled and unlabelled rows": both.score(X_test, y_test),
        "the same, on its unlabelled training rows (transductive)": both.score(X[hidden], y[hidden]),
        "flow, labelled rows alone, as many steps": alone.score(X_test, y_test),
        "LogisticRegression, labelled rows alone": linear.score(X_test, y_test),
        "seconds": seconds,
    }


def main() -> None:
    """Run all seeds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    n_seeds = parser.parse_args().seeds
    rows = []
    for seed in range(n_seeds):
        rows.append(one_seed(seed))
        print(f"seed {seed}: {', '.join(f'{name} {value:.3f}' for name, value in rows[-1].items())}", flush=True)
    header = [f"digits, {LABELS_PER_CLASS} labels per class, {n_seeds} seeds", "accuracy", "standard deviation"]
    cells = []
    for name in rows[0]:
        if name != "seconds":
            values = 100 * np.array([row[name] for row in rows])
            cells.append([name, f"{values.mean():.1f}", f"{values.std(ddof=1):.1f}" if n_seeds > 1 else "-"])
    seconds = f"{np.mean([row['seconds'] for row in rows]):.0f} s a fit on labelled and unlabelled rows."
    reporting.write("semi_supervised", f"{reporting.table(header, cells)}\n\n{seconds}")


if __name__ == "__main__":
    main()
