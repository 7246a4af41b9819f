"""The loop of an evaluation: every estimator on every fold of every protocol, cloned, fitted, scored."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import StackingClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_consistent_length
from tqdm import tqdm

from flowexpr.evaluation.checkpoint import FitStore
from flowexpr.evaluation.fit import Fit, Outcome, fit_and_score, searched
from flowexpr.evaluation.leakage import LeakCounter
from flowexpr.evaluation.protocols import GROUPED_BY, PROTOCOLS, group_codes, make_splits, possible_protocols
from flowexpr.evaluation.result import EvaluationResult, Predictions
from flowexpr.inputs import as_array
from flowexpr.labels import check_lengths, of_their_kinds, split_labels
from flowexpr.parameters import is_int
from flowexpr.persistence import library_versions

__all__ = ["evaluate"]


def evaluate(
    estimators: Mapping[str, BaseEstimator],
    X: ArrayLike,
    y: ArrayLike,
    *,
    subject: ArrayLike | None = None,
    clip: ArrayLike | None = None,
    clip_names: str = "auto",
    protocols: Sequence[str] | None = None,
    n_splits: int = 5,
    random_state: int = 0,
    max_folds: int | None = None,
    n_jobs: int | None = None,
    checkpoint_dir: str | Path | None = None,
    progress: bool = False,
    return_estimators: bool = False,
) -> EvaluationResult:
    """Cross-validate classifiers on identical folds, under one protocol or several.

    Parameters
    ----------
    estimators : dict of str to classifier
        Unfitted classifiers with `predict_proba`; each is cloned for every fold. Where `fit` takes `groups`,
        it gets the training rows' subjects (their clips, if no subjects are given), so that a validation set
        held out inside `fit` does not leak either; so does the last step of a pipeline, and the search of
        `GridSearchCV` and the like.
    X : array-like of shape (n_samples, ...)
        Images or rows, as the estimators take them; a data frame reaches them as one.
    y : array-like of shape (n_samples,)
        Labels. A row labelled `unlabeled` trains only the estimators that set this parameter, or whose last step or
        searched estimator does, and is never tested.
    subject, clip : array-like of shape (n_samples,) or None, default=None
        Who is seen, and in which recording.
    clip_names : {"auto", "recording", "within subject"}, default="auto"
        What two people's clips of the same name are: one recording of both, which must not stand on both sides of a
        split by subject; or two clips, numbered within each person. "auto" takes them for the latter where people
        share more than half of their names on average; `settings` of the result says which.
    protocols : sequence of {"random", "clip", "subject", "loso"} or None, default=None
        "random" is the paper's "uniform folds of the entire dataset": `StratifiedKFold`, shuffled. "clip" is
        `StratifiedGroupKFold`, shuffled, since clips are often numbered class by class. "subject" is
        `GroupKFold` as it stands, without shuffling: its folds are balanced in size and are those of anybody
        who writes `cv=GroupKFold(n_splits)`, so numbers can be compared. "loso", `LeaveOneGroupOut`, leaves one
        subject out at a time, and so trains once per subject. None takes all of them, as far as `subject` and `clip`
        are given.
    n_splits : int, default=5
        Number of folds; "loso" has one per subject.
    random_state : int, default=0
        Seed of the random folds, and of those by clip. The estimators keep their own seeds.
    max_folds : int or None, default=None
        Run only the first folds of every protocol, to save time; scores then come from fewer test rows.
    n_jobs : int or None, default=None
        Processes that fit at the same time, one thread each; None is this process alone, -1 one per core.
    checkpoint_dir : path-like or None, default=None
        Where every fit is kept as soon as it is done. The same call, made again after a kill, an error or with more
        folds, estimators or protocols, fits only what is missing; anything else that shapes a fit (data, parameters,
        versions) makes it another fit. With `return_estimators` the estimators are pickled there: let nobody else
        write to it.
    progress : bool, default=False
        Write a line to stderr after every fit and, in a terminal, show a bar.
    return_estimators : bool, default=False
        Keep the fitted estimators in the result.

    Returns
    -------
    result : EvaluationResult
        Scores, pooled predictions, what the two sides of the splits share, and the tables made of them.

    Raises
    ------
    ValueError
        If an estimator has no `predict_proba`, a protocol is unknown or lacks its groups, there are fewer
        groups than folds, fewer than two classes, also in one training fold, or lengths differ. All of these
        come before any training.
    LeakageError
        If a subject or clip stands on both sides of a split that promises otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> from flowexpr.baselines import pca_lda
    >>> from flowexpr.evaluation import evaluate
    >>> subject, y = np.repeat(np.arange(10), 4), np.tile([0, 1], 20)
    >>> X = np.random.default_rng(0).normal(size=(40, 8, 8)) + y[:, None, None]
    >>> result = evaluate({"linear": pca_lda()}, X, y, subject=subject)
    >>> [(row["protocol"], row["accuracy"]) for row in result.summary()]
    [('random', 1.0), ('subject', 1.0), ('loso', 1.0)]
    """
    rows = _read_rows(X, y, subject, clip, clip_names)
    if protocols is None:
        protocols = possible_protocols(rows.groups)
    elif not isinstance(protocols, str):
        protocols = list(protocols)
    _check_request(estimators, protocols, rows.groups, n_splits, max_folds, random_state)
    data = _Data.of(rows, _value_of_unlabelled(estimators))
    splits = {}
    for name in protocols:
        folds = make_splits(name, data.strata, data.groups, n_splits, random_state, data.names)
        splits[name] = _with_labelled_tests(folds, data)[:max_folds]
    leaks = LeakCounter(data.X, data.groups)
    leakage = {name: leaks.count(folds) for name, folds in splits.items()}
    settings = {
        "protocols": list(protocols),
        "n_splits": int(n_splits),
        "random_state": int(random_state),
        "max_folds": None if max_folds is None else int(max_folds),
        "clip_names": data.clip_names,
        "estimators": {name: _as_text(estimator) for name, estimator in estimators.items()},
        **data.described(),
        "versions": library_versions(),
        "date": date.today().isoformat(),
    }
    fits = [
        Fit(name, protocol, fold, estimator, train if _learns_unlabelled(estimator) else data.labelled_of(train), test)
        for protocol, folds in splits.items()
        for name, estimator in estimators.items()
        for fold, (train, test) in enumerate(folds)
    ]
    fit_groups = data.groups.get("subject", data.groups.get("clip"))
    columns = np.array(getattr(data.samples, "columns", []), dtype=object)
    store = None if checkpoint_dir is None else FitStore(checkpoint_dir, data.X, data.y, fit_groups, columns)
    task = _Task(data.samples, data.y, fit_groups, data.classes, store, return_estimators)
    outcomes: dict[tuple[str, str], list[Outcome]] = {(fit.name, fit.protocol): [] for fit in fits}
    for fit, outcome in _run_all(fits, task, n_jobs, progress):
        outcomes[fit.name, fit.protocol].append(outcome)
    fitted = {key: [one.estimator for one in some if one.estimator is not None] for key, some in outcomes.items()}
    return EvaluationResult(
        classes=data.classes,
        folds=[one.score for some in outcomes.values() for one in some],
        predictions={key: _pooled(data, splits[key[1]], some) for key, some in outcomes.items()},
        settings=settings,
        leakage=leakage,
        estimators={key: some for key, some in fitted.items() if some},
    )


@dataclass(frozen=True)
class _Rows:
    """The rows of one call of `evaluate`, as they were given.

    Attributes
    ----------
    samples : ndarray or data frame of shape (n_samples, ...)
        As the estimators get them.
    X : ndarray of shape (n_samples, ...)
        The same as an array.
    y : ndarray of shape (n_samples,)
        Labels.
    names : dict of str to array-like
        "subject" and "clip", as far as they are given.
    groups : dict of str to ndarray of shape (n_samples,), int
        The same as numbers.
    clip_names : str or None
        What clips of one name are.
    """

    samples: Any
    X: np.ndarray
    y: np.ndarray
    names: dict[str, Any]
    groups: dict[str, np.ndarray]
    clip_names: str | None


@dataclass(frozen=True)
class _Data(_Rows):
    """The same with their classes.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        The sorted labels.
    codes : ndarray of shape (n_samples,), int
        Index of the class of every row, negative where it is unlabelled.
    """

    classes: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, rows: _Rows, unlabeled: Any) -> _Data:
        """Find the classes, of which the label `unlabeled` is none."""
        classes, codes = split_labels(rows.y, unlabeled)
        y = classes[codes] if (codes >= 0).all() else rows.y
        return cls(**vars(rows) | {"y": y}, classes=classes, codes=codes)

    @property
    def strata(self) -> np.ndarray:
        """What folds are stratified by."""
        return self.y if (self.codes >= 0).all() else self.codes

    def labelled_of(self, rows: np.ndarray) -> np.ndarray:
        """Return those of the row numbers that have a label."""
        return rows[self.codes[rows] >= 0]

    def described(self) -> dict[str, Any]:
        """Return the settings that tell what was evaluated on."""
        labelled = self.codes >= 0
        counts = np.bincount(self.codes[labelled]).tolist()
        return {
            "n_samples": len(self.X),
            "sample_shape": list(self.X.shape[1:]),
            **{f"n_{kind}s": int(groups.max()) + 1 for kind, groups in self.groups.items()},
            "class_counts": dict(zip(map(str, self.classes.tolist()), counts, strict=True)),
            "n_unlabelled": int(np.sum(~labelled)),
        }


def _read_rows(X: ArrayLike, y: ArrayLike, subject: ArrayLike | None, clip: ArrayLike | None, clip_names: str) -> _Rows:
    """Check the rows, and that there is one entry for each in whatever else is given."""
    X = as_array(X)
    samples = X if hasattr(X, "iloc") else np.asarray(X)  # a data frame keeps the names of its columns
    X = np.asarray(X)
    check_lengths(X.shape, y)
    y = np.asarray(of_their_kinds(y))
    check_consistent_length(X, y, subject, clip)
    for name, column in (("y", y), ("subject", subject), ("clip", clip)):
        if column is not None and np.ndim(column) != 1:
            raise ValueError(f"{name} was expected to be of shape ({len(X)},), but has shape {np.shape(column)}.")
    groups, clip_names_are = group_codes(subject, clip, clip_names)
    names = {kind: given for kind, given in (("subject", subject), ("clip", clip)) if given is not None}
    return _Rows(samples, X, y, names, groups, clip_names_are)


def _unlabelled_in(estimator: BaseEstimator) -> list[Any]:
    """Return the values of `unlabeled` that are set in an estimator, or in those inside it."""
    parameters = estimator.get_params().items()
    return [value for name, value in parameters if name.rpartition("__")[2] == "unlabeled" and value is not None]


def _learns_unlabelled(estimator: BaseEstimator) -> bool:
    """Tell whether what predicts in the end has `unlabeled` set; a forest behind a flow would make a class of it."""
    inside = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else searched(estimator)
    if inside is not None:
        return _learns_unlabelled(inside)
    return estimator.get_params(deep=False).get("unlabeled") is not None


def _value_of_unlabelled(estimators: Mapping[str, BaseEstimator]) -> Any:
    """Return the label that stands for none, or None; it has to be the same for all estimators that have one."""
    values = [value for estimator in estimators.values() for value in _unlabelled_in(estimator)]
    if any(value != values[0] for value in values):
        raise ValueError(f"unlabeled was expected to be the same for all estimators, but came as {values}.")
    return values[0] if values else None


def _with_labelled_tests(
    folds: list[tuple[np.ndarray, np.ndarray]], data: _Data
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Leave unlabelled rows out of the tests, and folds that test nothing then."""
    tested = [(train, data.labelled_of(test)) for train, test in folds]
    return [(train, test) for train, test in tested if len(test)]


def _as_text(estimator: BaseEstimator) -> str:
    """Return an estimator as text, without the folders of this machine."""
    folders = [name for name in estimator.get_params() if name.rpartition("__")[2] == "checkpoint_dir"]
    return repr(clone(estimator).set_params(**dict.fromkeys(folders)) if folders else estimator)


@dataclass(frozen=True)
class _Task:
    """The data of one call of `evaluate`, and what to do with every fit; travels to the processes."""

    X: Any
    y: np.ndarray
    groups: np.ndarray | None
    classes: np.ndarray
    store: FitStore | None
    keep: bool

    def __call__(self, fit: Fit) -> tuple[Fit, Outcome]:
        try:
            outcome = fit_and_score(fit, self.X, self.y, self.groups, self.classes, keep=self.keep)
        except Exception as error:
            kept = (
                "Pass checkpoint_dir to keep the fits that are done before an error."
                if self.store is None
                else f"The fits done are kept in {self.store.folder}: the same call goes on from there."
            )
            error.add_note(f"This was estimators[{fit.name!r}] in fold {fit.fold} of {fit.protocol!r}. {kept}")
            raise
        if self.store is not None:
            self.store.write(fit, outcome)
        return fit, outcome


def _run_all(fits: list[Fit], task: _Task, n_jobs: int | None, progress: bool) -> list[tuple[Fit, Outcome]]:
    """Run the fits that are not kept from an earlier call; return all, in the order of `fits`."""
    done: dict[int, Outcome] = {}
    if task.store is not None:
        read = {i: task.store.read(fit, with_estimator=task.keep) for i, fit in enumerate(fits)}
        done = {i: outcome for i, outcome in read.items() if outcome is not None}
    missing = [i for i in range(len(fits)) if i not in done]
    n_folds = {fit.protocol: fit.fold + 1 for fit in fits}  # the last fold of a protocol comes last
    bar = tqdm(total=len(fits), initial=len(done), unit="fit", disable=None if progress else True)
    if progress and done:
        bar.write(f"{len(done)} of {len(fits)} fits were done before, and are read", file=sys.stderr)
    # A process per job, and in it one thread: small networks gain little from more.
    with bar, parallel_config("loky", inner_max_num_threads=1):
        run = Parallel(n_jobs=n_jobs, return_as="generator")
        for i, (fit, outcome) in zip(missing, run(delayed(task)(fits[i]) for i in missing), strict=True):
            done[i] = outcome
            bar.update()
            if progress:
                bar.write(_line(fit, outcome, n_folds[fit.protocol]), file=sys.stderr)
    return [(fit, done[i]) for i, fit in enumerate(fits)]


def _line(fit: Fit, outcome: Outcome, n_folds: int) -> str:
    score = outcome.score
    seconds = score.fit_seconds + score.predict_seconds
    place = f"{fit.protocol} fold {fit.fold + 1} of {n_folds}, {fit.name}"
    return f"{place}: accuracy {score.accuracy:.1%} ({seconds:.1f} s)"


def _pooled(data: _Data, folds: list[tuple[np.ndarray, np.ndarray]], outcomes: list[Outcome]) -> Predictions:
    """Return the predictions of one estimator under one protocol, all folds together."""
    index = np.concatenate([test for _, test in folds])
    proba = np.concatenate([outcome.proba for outcome in outcomes])
    subject, clip = data.names.get("subject"), data.groups.get("clip")
    return Predictions(
        index=index,
        fold=np.repeat(np.arange(len(folds)), [len(test) for _, test in folds]),
        y_true=data.y[index],
        y_pred=data.classes[proba.argmax(axis=1)],
        proba=proba,
        subject=None if subject is None else np.asarray(subject)[index],
        clip=None if clip is None else clip[index],
    )


def _check_request(
    estimators: Mapping[str, BaseEstimator],
    protocols: Sequence[str],
    groups: dict[str, np.ndarray],
    n_splits: int,
    max_folds: int | None,
    random_state: int,
) -> None:
    if not isinstance(estimators, Mapping) or not estimators:
        raise ValueError(
            f"estimators was expected to be a dict of names to unfitted classifiers, but is {estimators!r}."
        )
    for name, estimator in estimators.items():
        if isinstance(estimator, type):
            raise ValueError(f"estimators[{name!r}] is the class {estimator.__name__}. Pass {estimator.__name__}().")
        # A stack whose last estimator is left to scikit-learn has it once it is fitted.
        is_stack = isinstance(estimator, StackingClassifier) and estimator.final_estimator is None
        if not hasattr(estimator, "predict_proba") and not is_stack:
            raise ValueError(
                f"estimators[{name!r}] has no predict_proba, which the log loss needs. Wrap it in "
                "sklearn.calibration.CalibratedClassifierCV."
            )
    if max_folds is not None and (not is_int(max_folds) or max_folds < 1):
        raise ValueError(f"max_folds was expected to be an integer of at least 1 or None, but is {max_folds!r}.")
    if not is_int(random_state):
        raise ValueError(f"random_state was expected to be an integer, for identical folds, but is {random_state!r}.")
    if isinstance(protocols, str) or not protocols or not set(protocols) <= set(PROTOCOLS):
        raise ValueError(f"protocols was expected to be a sequence of {sorted(PROTOCOLS)}, but is {protocols!r}.")
    if not is_int(n_splits) or n_splits < 2:
        raise ValueError(f"n_splits was expected to be an integer of at least 2, but is {n_splits!r}.")
    for protocol in protocols:
        kind = GROUPED_BY.get(protocol)
        if kind is None:
            continue
        if kind not in groups:
            raise ValueError(
                f"The protocol {protocol!r} needs {kind}=, one name per image. Pass it, or leave the protocol out."
            )
        n_groups = int(groups[kind].max()) + 1
        if n_groups < 2:
            raise ValueError(
                f"the protocol {protocol!r} needs at least two {kind}s, but there is one. Pass the {kind} "
                "of every image, or leave the protocol out."
            )
        if n_groups < n_splits and protocol != "loso":
            raise ValueError(
                f"n_splits={n_splits} needs at least as many {kind}s, but there are {n_groups}. "
                f"Use n_splits={n_groups} or fewer."
            )
