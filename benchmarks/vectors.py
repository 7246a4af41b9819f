"""Vector signals: default settings against LogisticRegression on scikit-learn's tables, five folds each.

    python benchmarks/vectors.py [--data breast_cancer wine digits]

Prints, as a Markdown table, mean accuracies in per cent and the seconds of the slowest fold.
"""

import argparse
import time

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flowexpr import FlowExpressionClassifier

TABLES = {"breast_cancer": datasets.load_breast_cancer, "wine": datasets.load_wine, "digits": datasets.load_digits}


def main() -> None:
    """Run all tables and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=TABLES, default=list(TABLES))
    print("| data | flow | LogisticRegression | slowest fold, s |\n|---|---|---|---|")
    for name in parser.parse_args().data:
        X, y = TABLES[name](return_X_y=True)
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        linear = cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, y, cv=folds)
        scores, seconds = [], []
        for train, test in folds.split(X, y):
            began = time.perf_counter()
            scores.append(FlowExpressionClassifier(random_state=0).fit(X[train], y[train]).score(X[test], y[test]))
            seconds.append(time.perf_counter() - began)
        print(f"| {name} | {100 * np.mean(scores):.1f} | {100 * linear.mean():.1f} | {max(seconds):.0f} |", flush=True)


if __name__ == "__main__":
    main()
