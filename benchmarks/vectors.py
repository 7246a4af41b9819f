"""Vector signals: default settings against LogisticRegression on scikit-learn's tables, five folds each.

    python benchmarks/vectors.py [--data breast_cancer wine digits]

Mean accuracies in per cent, and the seconds of the slowest fold.
"""

import argparse
import time

import numpy as np
import reporting
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flowexpr import FlowExpressionClassifier

TABLES = {"breast_cancer": datasets.load_breast_cancer, "wine": datasets.load_wine, "digits": datasets.load_digits}


def measure(name: str) -> list[str]:
    """Return the row of one table."""
    X, y = TABLES[name](return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    linear = cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, y, cv=folds)
    scores, seconds = [], []
    for train, test in folds.split(X, y):
        began = time.perf_counter()
        scores.append(FlowExpressionClassifier(random_state=0).fit(X[train], y[train]).score(X[test], y[test]))
        seconds.append(time.perf_counter() - began)
    return [name, f"{100 * np.mean(scores):.1f}", f"{100 * linear.mean():.1f}", f"{max(seconds):.0f}"]


def main() -> None:
    """Run all tables; write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=TABLES, default=list(TABLES))
    rows: list[list[str]] = []
    for name in parser.parse_args().data:
        rows.append(measure(name))
        reporting.write("vectors", reporting.table(["data", "flow", "LogisticRegression", "slowest fold, s"], rows))


if __name__ == "__main__":
    main()
