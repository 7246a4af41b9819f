"""The paper's Table I: tree classifiers on t-SNE maps of latents, as the paper made them and as they must be made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import AdaBoostClassifier, ExtraTreesClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_consistent_length

from flowexpr.baselines import CNNExpressionClassifier
from flowexpr.embedding import embed, embed_and_place, has_latents, latents_of
from flowexpr.evaluation.result import EvaluationResult
from flowexpr.evaluation.tables import tidy

__all__ = ["latent_table"]

TREES = {
    "Random Forest": RandomForestClassifier,
    "Extra Trees": ExtraTreesClassifier,
    "AdaBoost": AdaBoostClassifier,
    "Decision Tree": DecisionTreeClassifier,
}
PAPER = {"Random Forest": 0.965, "Extra Trees": 0.8923, "AdaBoost": 0.6912, "Decision Tree": 0.9412, "itself": 0.875}
"""Table I, of the flow on BU-EEG: 29 subjects, six posed expressions."""
PAPER_CNN = 0.74


def latent_table(result: EvaluationResult, X: ArrayLike, y: ArrayLike, *, random_state: int = 0) -> Any:
    """Classify two-dimensional maps of latents by trees, on the folds of an evaluation (the paper's Table I [1]_).

    Every fitted estimator of the evaluation gives latents: the flow z'1, the CNN its deep features, a pipeline what
    goes into its last step (principal components, for `pca_lda`). They are mapped twice:

    - "together", as in the paper: t-SNE of training and test latents at once, z'1 under the labels given. The map
      knows the test images, z'1 even knows their labels. With "random" folds this is the paper's protocol.
    - "placed": t-SNE of training latents alone, test latents placed into that map by openTSNE, z'1 under the
      predicted class. With folds by subject this says what to expect on new people.

    Parameters
    ----------
    result : EvaluationResult
        From `evaluate(..., return_estimators=True)`. Estimators without `transform` are left out.
    X : array-like of shape (n_samples, ...)
        The images that were evaluated.
    y : array-like of shape (n_samples,)
        Their labels.
    random_state : int, default=0
        Seed of the maps and of the trees, which keep scikit-learn's defaults otherwise.

    Returns
    -------
    table : DataFrame, or list of dict where pandas is not installed
        A row per estimator, classifier, protocol and map: accuracy, its mean over folds; accuracy_std; folds; paper,
        the figure in the paper's protocol, None elsewhere. The classifier "itself" is the estimator, without a map.

    Raises
    ------
    ValueError
        If the result holds no fitted estimators or none that transforms, or X and y are not those that were evaluated.
    ImportError
        If openTSNE is not installed.

    References
    ----------
    .. [1] Aathreya & Canavan, "Expression Recognition using a Flow-based Latent-space Representation", Table I.

    Examples
    --------
    >>> import numpy as np
    >>> from flowexpr.baselines import pca_lda
    >>> from flowexpr.evaluation import evaluate, latent_table
    >>> y = np.arange(60) % 2
    >>> X = np.random.default_rng(0).normal(size=(60, 8, 8)) + 3 * y[:, None, None]
    >>> result = evaluate({"linear": pca_lda()}, X, y, n_splits=2, return_estimators=True)
    >>> len(latent_table(result, X, y))  # itself, and four trees on two maps
    9
    """
    check_consistent_length(X, y)
    X, y = np.asarray(X), np.asarray(y)
    if not result.estimators:
        raise ValueError("result holds no fitted estimators. Pass evaluate(..., return_estimators=True).")
    _check_same(result, y)
    rows: list[dict[str, Any]] = []
    for (name, protocol), fitted in result.estimators.items():
        if not has_latents(fitted[0]):
            continue
        own = [row.accuracy for row in result.folds if (row.estimator, row.protocol) == (name, protocol)]
        figure = _paper_figure(fitted[0], "itself", protocol, "-")
        rows.append(_row(name, "itself", protocol, "-", own, figure))
        scores: dict[tuple[str, str], list[float]] = {}
        for train, test, estimator in _folds(result, name, protocol, fitted, np.isin(y, result.classes)):
            for way, maps in _maps(estimator, X, y, train, test, random_state).items():
                for tree in TREES:
                    fitted_tree = clone(TREES[tree](random_state=random_state)).fit(maps[0], y[train])
                    scores.setdefault((way, tree), []).append(float(fitted_tree.score(maps[1], y[test])))
        for (way, tree), accuracy in scores.items():
            figure = _paper_figure(fitted[0], tree, protocol, way)
            rows.append(_row(name, tree, protocol, way, accuracy, figure))
    if not rows:
        raise ValueError("no estimator of the result transforms, so there are no latents. Evaluate one that does.")
    return tidy(rows)


def _check_same(result: EvaluationResult, y: np.ndarray) -> None:
    """Raise where y is not that of the evaluation."""
    n = result.settings["n_samples"]
    if y.shape != (n,):
        raise ValueError(f"y was expected to be the {n} labels that were evaluated, but has shape {y.shape}.")
    for name, protocol in result.estimators:
        pooled = result.pooled(name, protocol)
        if not np.array_equal(y[pooled.index], pooled.y_true):
            raise ValueError(
                f"y was expected to be the labels that were evaluated, such as {result.classes[0]!r}, but differs. "
                "Pass the X and y that evaluate was given."
            )


def _folds(
    result: EvaluationResult, name: str, protocol: str, fitted: list[BaseEstimator], labelled: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, BaseEstimator]]:
    """Give the labelled training and test rows of every fold, and the estimator that was fitted there."""
    pooled = result.pooled(name, protocol)
    everything = np.flatnonzero(labelled)
    for fold, estimator in enumerate(fitted):
        test = pooled.index[pooled.fold == fold]
        yield np.setdiff1d(everything, test), test, estimator


def _maps(
    estimator: BaseEstimator, X: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, random_state: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Map the latents of one fold both ways; training and test places."""
    # Of a class that the training fold did not hold, the estimator knows no label: its own prediction stands for it.
    unknown = ~np.isin(y, estimator.classes_)
    labels = np.where(unknown, estimator.predict(X), y) if unknown.any() else y
    together = embed(latents_of(estimator, X, labels), "tsne", random_state)
    predicted = latents_of(estimator, X)
    placed = embed_and_place(predicted[train], predicted[test], random_state)
    return {"together": (together[train], together[test]), "placed": placed}


def _paper_figure(estimator: BaseEstimator, classifier: str, protocol: str, way: str) -> float | None:
    if protocol != "random" or way == "placed":
        return None
    if hasattr(estimator, "encode"):
        return PAPER[classifier]
    return PAPER_CNN if classifier == "itself" and isinstance(estimator, CNNExpressionClassifier) else None


def _row(
    name: str, classifier: str, protocol: str, way: str, accuracy: list[float], paper: float | None
) -> dict[str, Any]:
    return {
        "estimator": name,
        "classifier": classifier,
        "protocol": protocol,
        "map": way,
        "accuracy": float(np.mean(accuracy)),
        "accuracy_std": float(np.std(accuracy)),
        "folds": len(accuracy),
        "paper": paper,
    }
