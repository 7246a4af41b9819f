"""How much memory a process holds, and how much a fit takes: the peak of a process that does nothing else. On Linux."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import has_fit_parameter

from flowexpr.evaluation import evaluate


def resident_gib(field: str = "VmHWM") -> float:
    """Return the highest resident memory of this process since it started, or another field of its status, in GiB.

    `resource.getrusage` would not do: its peak is at least that of the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 2**20


class Measured(ClassifierMixin, BaseEstimator):
    """An estimator that remembers how much memory its process has held so far, `gib_`, and nothing else of a fit.

    Parameters
    ----------
    estimator : classifier
        Unfitted.
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self.estimator = estimator

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """Fit a clone."""
        takes_groups = groups is not None and has_fit_parameter(self.estimator, "groups")
        self.fitted_ = clone(self.estimator).fit(X, y, **({"groups": groups} if takes_groups else {}))
        self.classes_ = self.fitted_.classes_
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the clone's probabilities, and look at the memory."""
        proba = self.fitted_.predict_proba(X)
        self.gib_ = resident_gib()
        return proba

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model out: with it, every file kept would be as large."""
        return {name: value for name, value in super().__getstate__().items() if name != "fitted_"}


def peak_gib(
    estimator: BaseEstimator,
    X: np.ndarray,
    y: np.ndarray,
    *,
    subject: np.ndarray | None,
    n_splits: int,
    resume: str | Path | None,
) -> float:
    """Return the peak of resident memory, in GiB, of a process of its own that does one random fold.

    It is measured once where `resume` names a folder, in which `evaluate` keeps it as it keeps any other fit.
    """
    folds = {"subject": subject, "n_splits": n_splits, "checkpoint_dir": resume}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, estimator, X, y, **folds).result()


def _measure(estimator: BaseEstimator, X: np.ndarray, y: np.ndarray, **folds: Any) -> float:
    once: dict[str, Any] = {"protocols": ["random"], "max_folds": 1, "return_estimators": True}
    result = evaluate({"measured": Measured(estimator)}, X, y, **once, **folds)
    return result.estimators["measured", "random"][0].gib_
