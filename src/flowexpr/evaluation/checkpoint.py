"""Where the fits of an evaluation are kept, so that a killed one goes on from those that are done."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator

from flowexpr.evaluation.fit import Fit, Outcome
from flowexpr.evaluation.result import FoldScore
from flowexpr.files import made_folder, remove_abandoned, write_atomically
from flowexpr.fingerprints import describe_function, describe_value, fingerprint
from flowexpr.persistence import library_versions

__all__ = ["FitStore"]

UNRELATED = ("checkpoint_dir", "n_jobs", "verbose")
"""Parameters of estimators that change no result."""


class FitStore:
    """One file per fit, named by a digest of everything that shapes its outcome.

    That is the data, groups included, the estimator's class and parameters, the rows of both sides of the split, and
    the versions of the libraries. The names of estimators and protocols are not, so that an evaluation may take up
    what another one has done, and never something else.

    Parameters
    ----------
    folder : path-like
        Made where it is missing.
    *data : ndarray or None
        What all fits share.
    """

    def __init__(self, folder: str | Path, *data: np.ndarray | None) -> None:
        self.folder = made_folder(folder)
        remove_abandoned(self.folder)
        self.data = fingerprint(library_versions(), *data)

    def read(self, fit: Fit, *, with_estimator: bool) -> Outcome | None:
        """Return the outcome of a fit, or None where it is not kept or not whole."""
        file = self._file(fit)
        estimator_file = file.with_suffix(".joblib")
        if not file.exists() or (with_estimator and not estimator_file.exists()):
            return None
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            score = FoldScore(**kept["score"] | {"estimator": fit.name, "protocol": fit.protocol, "fold": fit.fold})
            proba = np.array(kept["proba"], dtype=np.float64)
            estimator = joblib.load(estimator_file) if with_estimator else None
        except Exception:  # damaged files make JSON and pickle raise whatever they run into; the fit is made again
            return None
        return Outcome(score, proba, estimator)

    def write(self, fit: Fit, outcome: Outcome) -> None:
        """Keep the outcome of a fit, atomically."""
        file = self._file(fit)
        if outcome.estimator is not None:
            pickled = io.BytesIO()
            joblib.dump(outcome.estimator, pickled)
            write_atomically(file.with_suffix(".joblib"), pickled.getvalue())
        content = {"score": asdict(outcome.score), "proba": outcome.proba.tolist()}
        write_atomically(file, json.dumps(content).encode())

    def _file(self, fit: Fit) -> Path:
        key = fingerprint([self.data, _described(fit.estimator)], fit.train, fit.test)
        return self.folder / f"{key}.json"


def _described(value: Any, parameter: str = "estimator") -> Any:
    """Return something that JSON holds and that changes with an estimator's class or any of its parameters."""
    if isinstance(value, BaseEstimator):
        parameters = value.get_params(deep=False)
        kept = {name: _described(each, name) for name, each in parameters.items() if name not in UNRELATED}
        return [f"{type(value).__module__}.{type(value).__qualname__}", kept]
    if isinstance(value, Mapping):
        return {repr(name): _described(each, parameter) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_described(each, parameter) for each in value]
    return describe_function(value, parameter) if callable(value) else describe_value(value)
