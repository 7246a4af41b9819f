"""Evaluation: identical folds, no leak where a protocol promises none, scores that equal sklearn's."""

from typing import ClassVar

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import pca_lda
from flowexpr.evaluation import EvaluationResult, LeakageError, evaluate, protocols


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers, in the class, the rows and groups that every fit and prediction got; X holds row numbers."""

    fits: ClassVar[list] = []
    predictions: ClassVar[list] = []

    def fit(self, X, y, *, groups=None):
        self.classes_ = np.unique(y)
        Recorder.fits.append((X[:, 0].tolist(), None if groups is None else groups.tolist()))
        return self

    def predict_proba(self, X):
        Recorder.predictions.append(X[:, 0].tolist())
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_), dtype=np.float32)


class Counting(LogisticRegression):
    """Knows how many rows it was fitted on."""

    def fit(self, X, y):
        self.n_rows_ = len(X)
        return super().fit(X, y)


class Threads(DummyClassifier):
    """Knows how many threads torch has where it was fitted."""

    def fit(self, X, y):
        import torch

        self.n_threads_ = torch.get_num_threads()
        return super().fit(X, y)


@pytest.fixture
def recorder():
    Recorder.fits, Recorder.predictions = [], []
    return Recorder()


@pytest.fixture
def people():
    """120 rows of 10 subjects with 2 clips of 6 frames, 3 classes; clip names repeat across subjects."""
    rng = np.random.default_rng(0)
    subject = np.repeat([f"S{i}" for i in range(10)], 12)
    clip = np.tile(np.repeat([0, 1], 6), 10)
    y = np.tile(np.array(["anger", "fear", "joy"]), 40)
    X = rng.normal(size=(120, 4)) + 2 * (y[:, None] == np.array(["anger", "fear", "joy", "none"]))
    return X, y, subject, clip


def rows(n=40):
    return np.arange(n, dtype=float)[:, None].repeat(2, axis=1), np.arange(n) % 2


def test_scores_are_those_of_sklearn(people):
    X, y, subject, _ = people
    model = LogisticRegression()
    result = evaluate({"model": model}, X, y, subject=subject, random_state=4)
    splitter = StratifiedKFold(5, shuffle=True, random_state=4)
    by_protocol = {
        kind: [row.accuracy for row in result.folds if row.protocol == kind] for kind in ("random", "subject")
    }
    np.testing.assert_allclose(by_protocol["random"], cross_val_score(model, X, y, cv=splitter))
    expected = cross_val_score(model, X, y, groups=subject, cv=GroupKFold(5))
    np.testing.assert_allclose(by_protocol["subject"], expected)


def test_pooled_predictions_are_those_of_cross_val_predict(people):
    X, y, subject, _ = people
    pooled = evaluate({"m": LogisticRegression()}, X, y, subject=subject).predictions["m", "subject"]
    expected = cross_val_predict(LogisticRegression(), X, y, groups=subject, cv=GroupKFold(5), method="predict_proba")
    np.testing.assert_allclose(pooled.proba, expected[pooled.index])
    np.testing.assert_array_equal(pooled.y_true, y[pooled.index])
    np.testing.assert_array_equal(np.sort(pooled.index), np.arange(120))


def test_every_estimator_gets_the_same_folds(recorder):
    X, y = rows()
    evaluate({"a": recorder, "b": Recorder()}, X, y, protocols=("random",))
    assert Recorder.fits[:5] == Recorder.fits[5:]
    assert Recorder.predictions[:5] == Recorder.predictions[5:]


@pytest.mark.parametrize("protocol", ["subject", "clip"])
def test_groups_never_stand_on_both_sides(recorder, protocol):
    X, y = rows(48)
    subject, clip = np.repeat(np.arange(6), 8), np.tile(np.repeat([0, 1], 4), 6)
    evaluate({"a": recorder}, X, y, subject=subject, clip=clip, protocols=(protocol,), n_splits=3)
    group = subject if protocol == "subject" else 2 * subject + clip
    for (train, _), test in zip(Recorder.fits, Recorder.predictions, strict=True):
        assert not set(group[np.array(train, dtype=int)]) & set(group[np.array(test, dtype=int)])


def test_clip_names_need_to_be_unique_only_within_a_subject(people):
    X, y, subject, clip = people
    result = evaluate({"m": DummyClassifier()}, X, y, subject=subject, clip=clip, protocols=("clip",))
    assert result.settings["n_clips"] == 20


def test_a_recording_of_two_people_leaks(people):
    X, y, subject, _ = people
    recording = np.array([f"r{who}_{i % 2}" for i, who in enumerate(subject)], dtype=object)
    recording[np.flatnonzero(subject == subject[0])[0]] = recording[np.flatnonzero(subject != subject[0])[0]]
    with pytest.raises(LeakageError, match=r"1 clip\(s\) \('rS.*'\) stand on both sides of fold \d"):
        evaluate({"m": DummyClassifier()}, X, y, subject=subject, clip=recording.astype(str), protocols=("subject",))


@pytest.mark.parametrize(
    ("n_clips", "shared", "are"),
    [
        ([30, 2, 2, 2, 2], None, "within subject"),  # clips numbered within people, one of whom has most
        ([2, 2, 2, 2], (1, 2), "recording"),  # recordings, one of which shows two people
        ([1, 1, 1, 1, 1], (0, 1), "recording"),
    ],
    ids=["numbered", "recordings", "one each"],
)
def test_what_the_names_of_clips_stand_for(n_clips, shared, are):
    subject = np.repeat(np.arange(len(n_clips)), n_clips)
    number = np.concatenate([np.arange(n) for n in n_clips])
    clip = number if shared is None else np.arange(len(subject))
    if shared is not None:
        clip[shared[1]] = clip[shared[0]]
        subject, clip = np.concatenate([subject, [subject[shared[0]]]]), np.concatenate([clip, [clip[shared[0]]]])
        clip = clip.copy()
    codes, found = protocols.group_codes(subject, clip)
    assert found == are
    n_recordings = len(np.unique(clip)) if are == "recording" else sum(n_clips)
    assert codes["clip"].max() + 1 == n_recordings


def test_names_of_clips_are_what_the_caller_says(people):
    X, y, subject, clip = people
    arguments = {"subject": subject, "clip": clip, "protocols": ("subject",)}
    with pytest.raises(LeakageError, match=r'2 clip\(s\) \(0, 1\) stand on both sides.*clip_names="within subject"'):
        evaluate({"m": DummyClassifier()}, X, y, **arguments, clip_names="recording")
    result = evaluate({"m": DummyClassifier()}, X, y, **arguments, clip_names="within subject")
    assert (result.settings["n_clips"], result.settings["clip_names"]) == (20, "within subject")


@pytest.mark.parametrize("missing", [None, np.nan, "NA"], ids=str)
def test_missing_names_are_no_subject(missing, people):
    X, y, subject, _ = people
    names = subject.tolist()
    names[7] = pytest.importorskip("pandas").NA if missing == "NA" else missing
    with pytest.raises(ValueError, match=r"1 of 120 names are missing, such as that of row 7"):
        evaluate({"m": DummyClassifier()}, X, y, subject=names)


def test_settings_hold_no_folder_of_this_machine(people, tmp_path):
    X, y, *_ = people
    estimators = {"flow": FlowExpressionClassifier(checkpoint_dir=tmp_path, max_steps=1, hidden_channels=4)}
    result = evaluate(estimators, X, y, protocols=("random",), n_splits=2)
    assert result.settings["estimators"]["flow"] == "FlowExpressionClassifier(hidden_channels=4, max_steps=1)"


def test_a_leaking_split_is_an_error(people, monkeypatch):
    class Leaking(GroupKFold):
        def split(self, X, y=None, groups=None):
            return iter([(np.arange(100), np.arange(90, 120))])

    monkeypatch.setattr(protocols, "GroupKFold", Leaking)
    monkeypatch.setattr(protocols, "StratifiedGroupKFold", lambda *args, **options: Leaking())
    X, y, subject, clip = people
    with pytest.raises(LeakageError, match=r"2 subject\(s\) \('S7', 'S8'\) stand on both sides of fold 0"):
        evaluate({"m": DummyClassifier()}, X, y, subject=subject, protocols=("subject",))
    with pytest.raises(LeakageError, match=r"2 clip\(s\) \(.*\) stand on both sides of fold 0"):
        evaluate({"m": DummyClassifier()}, X, y, subject=subject, clip=clip, protocols=("clip",))


def test_fit_gets_the_training_subjects_where_it_takes_groups(recorder):
    X, y = rows()
    subject = np.arange(40) // 4
    evaluate({"a": recorder}, X, y, subject=subject)
    for train, groups in Recorder.fits:
        assert groups == subject[np.array(train, dtype=int)].tolist()


def test_one_subject_after_another_is_left_out(recorder):
    X, y = rows()
    subject = np.arange(40) // 8
    evaluate({"a": recorder}, X, y, subject=subject, protocols=("loso",))
    left_out = [set(subject[np.array(test, dtype=int)]) for test in Recorder.predictions]
    assert left_out == [{0}, {1}, {2}, {3}, {4}]


def test_by_default_all_protocols_that_the_groups_allow(people):
    X, y, subject, clip = people
    model = {"m": DummyClassifier()}
    assert evaluate(model, X, y).settings["protocols"] == ["random"]
    assert evaluate(model, X, y, subject=subject).settings["protocols"] == ["random", "subject", "loso"]
    every = evaluate(model, X, y, subject=subject, clip=clip).settings["protocols"]
    assert every == ["random", "clip", "subject", "loso"]


def test_processes_give_what_one_process_gives(people):
    X, y, subject, _ = people
    request = {"subject": subject, "protocols": ("random", "subject"), "max_folds": 2}
    alone, together = (evaluate({"m": pca_lda(3)}, X, y, n_jobs=n, **request) for n in (None, 2))
    np.testing.assert_allclose(alone.predictions["m", "subject"].proba, together.predictions["m", "subject"].proba)
    assert [row.fold for row in together.folds] == [0, 1, 0, 1]


def test_processes_have_one_thread_each(people):
    X, y, _, _ = people
    result = evaluate({"t": Threads()}, X, y, protocols=("random",), n_jobs=2, return_estimators=True)
    assert {fitted.n_threads_ for fitted in result.estimators["t", "random"]} == {1}


def test_fit_gets_no_groups_where_there_are_none(recorder):
    evaluate({"a": recorder}, *rows(), protocols=("random",))
    assert {groups for _, groups in Recorder.fits} == {None}


def test_class_missing_from_a_training_fold_gets_probability_zero():
    y = np.array(["b", "c"] * 8 + ["a"] * 4)
    subject = np.repeat(np.arange(5), 4)
    X = np.arange(20.0)[:, None]
    result = evaluate({"m": DummyClassifier()}, X, y, subject=subject, protocols=("subject",))
    pooled = result.predictions["m", "subject"]
    np.testing.assert_array_equal(pooled.proba[pooled.y_true == "a", 0], 0)
    assert all(np.isfinite(row.log_loss) for row in result.folds)


def test_clips_that_are_numbered_class_by_class_stand_in_every_training_fold():
    y, clip = np.repeat(np.arange(6), 16), np.repeat(np.arange(48), 2)
    result = evaluate({"m": DummyClassifier()}, y[:, None], y, clip=clip, protocols=("clip",), n_splits=6)
    pooled = result.predictions["m", "clip"]
    assert (pooled.proba[np.arange(len(y)), pooled.y_true] > 0).all()


def test_training_fold_of_one_class_is_an_error():
    y = np.repeat([0, 1], 10)
    with pytest.raises(ValueError, match=r"'subject' leaves training rows of 0 alone in fold 0\. Pass more subjects"):
        evaluate({"m": DummyClassifier()}, y[:, None], y, subject=y, protocols=("subject",), n_splits=2)


def test_a_random_training_fold_of_one_class_is_an_error_as_well():
    y = np.array([0] * 19 + [1])
    with (
        pytest.warns(UserWarning, match="least populated"),
        pytest.raises(ValueError, match=r"rows of 0 alone in fold"),
    ):
        evaluate({"m": DummyClassifier()}, y[:, None], y, protocols=("random",), n_splits=2)


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_an_empty_test_fold_is_an_error():
    sizes, labels = [1, 1, 6, 7, 4, 6], [2, 2, 0, 0, 0, 1]
    y, clip = np.repeat(labels, sizes), np.repeat(np.arange(6), sizes)
    with pytest.raises(ValueError, match=r"'clip' leaves no row to test in fold \d"):
        evaluate({"m": DummyClassifier()}, y[:, None], y, clip=clip, protocols=("clip",), n_splits=6)


def test_estimator_passed_in_stays_unfitted(people):
    X, y, subject, _ = people
    model = LogisticRegression()
    result = evaluate({"m": model}, X, y, subject=subject, return_estimators=True)
    assert not hasattr(model, "classes_")
    assert len(result.estimators["m", "subject"]) == 5


def test_fitted_estimators_are_let_go_unless_asked_for(people):
    X, y, subject, _ = people
    assert evaluate({"m": DummyClassifier()}, X, y, subject=subject).estimators == {}


def test_max_folds_runs_the_first_folds_only(people):
    X, y, subject, _ = people
    model, protocols = {"m": LogisticRegression()}, ("random", "subject")
    full = evaluate(model, X, y, subject=subject, protocols=protocols)
    short = evaluate(model, X, y, subject=subject, protocols=protocols, max_folds=2)
    assert [row["folds"] for row in short.summary()] == [2, 2]
    scores = [[row.accuracy for row in r.folds if row.fold < 2] for r in (full, short)]
    assert scores[0] == scores[1]


def test_four_dimensional_images_and_read_only_memmaps_pass_through(tmp_path):
    np.save(tmp_path / "X.npy", np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), dtype=np.uint8))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    result = evaluate({"m": pca_lda()}, X, np.arange(40) % 4, protocols=("random",))
    assert result.predictions["m", "random"].proba.shape == (40, 4)


def test_progress_writes_a_line_a_fold_to_stderr(people, capsys):
    X, y, subject, _ = people
    protocols = ("random", "subject")
    evaluate({"m": DummyClassifier()}, X, y, subject=subject, protocols=protocols, max_folds=1, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.partition(":")[0] for line in captured.err.splitlines()] == [
        "random fold 1 of 1, m",
        "subject fold 1 of 1, m",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimators": {}}, "estimators was expected to be a dict of names to unfitted classifiers"),
        ({"estimators": [DummyClassifier()]}, "estimators was expected to be a dict of names"),
        ({"subject": [None, *range(119)]}, "subject= was expected to name the subject of every sample, but 1 of 120"),
        ({"subject": [np.nan, *range(119)]}, "subject= was expected to name the subject of every sample"),
        ({"estimators": {"svc": LinearSVC()}}, r"estimators\['svc'\] has no predict_proba"),
        ({"subject": None, "protocols": ("subject",)}, "The protocol 'subject' needs subject="),
        ({"subject": None, "protocols": ("loso",)}, "The protocol 'loso' needs subject="),
        ({"protocols": ("clip",)}, "The protocol 'clip' needs clip="),
        (
            {"protocols": ("people",)},
            r"protocols was expected to be a sequence of \['clip', 'loso', 'random', 'subject'\]",
        ),
        ({"protocols": "random"}, "protocols was expected to be a sequence of"),
        ({"n_splits": 11}, "n_splits=11 needs at least as many subjects, but there are 10. Use n_splits=10"),
        (
            {"n_splits": 70, "protocols": ("random",)},
            r"n_splits=70 needs a class of as many samples, but the largest has \d\d\. Use fewer folds",
        ),
        ({"max_folds": 0}, "max_folds was expected to be an integer of at least 1 or None, but is 0"),
        ({"max_folds": True}, "max_folds was expected to be an integer of at least 1 or None, but is True"),
        ({"max_folds": 1.5}, "max_folds was expected to be an integer of at least 1 or None, but is 1.5"),
        ({"random_state": None}, "random_state was expected to be an integer, for identical folds, but is None"),
        ({"subject": ["S0"]}, "inconsistent numbers of samples"),
    ],
)
def test_wrong_requests_fail_before_any_training(people, recorder, changes, message):
    X, y, subject, _ = people
    request = {"estimators": {"r": recorder}, "subject": subject} | changes
    with pytest.raises(ValueError, match=message):
        evaluate(request.pop("estimators"), X, y, **request)
    assert Recorder.fits == []


def test_numbers_of_numpy_and_dates_can_be_written(people):
    X, y, subject, _ = people
    born = np.datetime64("1990-01-01") + np.unique(subject, return_inverse=True)[1]
    result = evaluate(
        {"m": DummyClassifier()},
        X,
        y,
        subject=born,
        protocols=("subject",),
        random_state=np.int64(3),
        max_folds=np.int64(1),
    )
    assert EvaluationResult.from_json(result.to_json()).settings["random_state"] == 3


def test_result_is_of_the_public_class(people):
    X, y, subject, _ = people
    assert isinstance(evaluate({"m": DummyClassifier()}, X, y, subject=subject), EvaluationResult)


@pytest.mark.parametrize("name", ["y", "subject", "clip"])
def test_columns_of_two_dimensions_are_told(name):
    given = {"y": np.arange(12) % 2, "subject": np.arange(12) // 2, "clip": np.arange(12)}
    given[name] = given[name][:, None]
    with pytest.raises(ValueError, match=rf"{name} was expected to be of shape \(12,\), but has shape \(12, 1\)"):
        evaluate({"dummy": DummyClassifier()}, np.zeros((12, 2)), n_splits=2, **given)


def test_protocols_may_come_one_by_one():
    y = np.arange(12) % 2
    result = evaluate({"dummy": DummyClassifier()}, np.zeros((12, 2)), y, protocols=iter(["random"]), n_splits=2)
    assert [row.protocol for row in result.folds] == ["random", "random"]


def test_unlabelled_rows_train_those_who_know_them_and_are_never_tested(tiny):
    X, subject = np.random.default_rng(0).normal(size=(48, 2)), np.repeat(np.arange(8), 6)
    y = np.where(np.arange(48) % 3 == 0, -1, np.arange(48) % 2)
    X[:, 0] += 9 * np.maximum(y, 0)
    estimators = {"flow": tiny(unlabeled=-1), "other": Counting()}
    result = evaluate(
        estimators, X, y, subject=subject, protocols=["subject", "random"], n_splits=2, return_estimators=True
    )
    assert result.classes.tolist() == [0, 1]
    assert result.settings["n_unlabelled"] == 16
    for (name, protocol), pooled in result.predictions.items():
        assert sorted(pooled.index) == np.flatnonzero(y >= 0).tolist()
        trained_on = [fitted.n_rows_ for fitted in result.estimators["other", protocol]]
        assert name != "other" or trained_on == [32 - np.sum(pooled.fold == fold) for fold in (0, 1)]
    known = result.estimators["flow", "subject"][0].predict_proba(X[:2])
    labelled_alone = tiny().fit(X[(subject % 2 == 0) & (y >= 0)], y[(subject % 2 == 0) & (y >= 0)])
    assert not np.allclose(known, labelled_alone.predict_proba(X[:2]))
    with pytest.raises(
        ValueError, match=r"unlabeled was expected to be the same for all estimators, but came as \[-1, -2"
    ):
        evaluate({"a": tiny(unlabeled=-1), "b": tiny(unlabeled=-2)}, X, y)


def test_unlabelled_rows_are_no_class_of_what_stands_behind_a_flow(tiny):
    X, subject = np.random.default_rng(0).normal(size=(48, 2)), np.repeat(np.arange(8), 6)
    y = np.where(np.arange(48) % 3 == 0, 9, np.arange(48) % 2)
    flow = tiny(unlabeled=9, max_steps=2)
    estimators = {
        "behind": make_pipeline(flow, Counting()),
        "stack": StackingClassifier([("flow", flow)], cv=2),
        "scaled": make_pipeline(StandardScaler(), flow),
        "search": GridSearchCV(flow, {"n_flows": [1]}, cv=GroupKFold(2)),
    }
    result = evaluate(
        estimators, X, y, subject=subject, protocols=["subject"], n_splits=2, return_estimators=True, max_folds=1
    )
    assert result.classes.tolist() == [0, 1]
    n_rows = {row.estimator: row.n_train for row in result.folds}
    assert n_rows == {"behind": 16, "stack": 16, "scaled": 24, "search": 24}
    assert all(np.isfinite(row.log_loss) for row in result.folds)
    assert result.estimators["behind", "subject"][0][-1].n_rows_ == 16


def test_masked_labels_and_names_are_refused():
    X, y, subject = np.zeros((12, 2)), np.arange(12) % 2, np.arange(12) // 3
    for changes, message in (
        ({"y": np.ma.masked_equal(y, 1)}, "6 of 12 labels are masked"),
        ({"subject": np.ma.masked_equal(subject, 1)}, "row 3"),
        ({"X": np.ma.masked_equal(X, 0)}, "24 of 24 values of X are masked"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate({"dummy": DummyClassifier()}, **{"X": X, "y": y, "subject": subject} | changes, n_splits=2)


def test_data_frames_reach_the_estimators_with_their_names(tmp_path):
    pd = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"kind": random.choice(["a", "b"], 24), "b": random.normal(size=24)})
    encoded = make_column_transformer((OneHotEncoder(), ["kind"]), (StandardScaler(), ["b"]))
    model = make_pipeline(encoded, LogisticRegression())
    call = {"y": (frame["kind"] == "a").to_numpy(), "protocols": ["random"], "n_splits": 2, "checkpoint_dir": tmp_path}
    result = evaluate({"model": model}, frame, **call)
    assert result.summary()[0]["accuracy"] == 1
    n_kept = len(list(tmp_path.iterdir()))
    with pytest.raises(ValueError, match=r"kind|not a column"):  # other names are another call
        evaluate({"model": model}, frame.rename(columns={"kind": "sort"}), **call)
    assert len(list(tmp_path.iterdir())) == n_kept


def test_people_without_any_label_are_not_tested(tiny):
    X, subject = np.random.default_rng(0).normal(size=(24, 2)), np.repeat(np.arange(4), 6)
    y = np.where(subject == 1, -1, np.arange(24) % 2)
    result = evaluate({"flow": tiny(unlabeled=-1, max_steps=1)}, X, y, subject=subject, protocols=["loso"])
    assert len(result.folds) == 3
    assert set(result.pooled("flow", "loso").subject.tolist()) == {0, 2, 3}


@pytest.mark.parametrize("routing", [False, True])
def test_groups_reach_the_last_step_of_a_pipeline(routing, people, tiny):
    X, y, subject, _ = people
    last = tiny(max_steps=1, validation_fraction=0.3)
    with config_context(enable_metadata_routing=routing):
        if routing:
            last.set_fit_request(groups=True)
        estimators = {"pipeline": make_pipeline(make_pipeline("passthrough", last))}
        result = evaluate(estimators, X, y, subject=subject, protocols=["subject"], n_splits=2, return_estimators=True)
    fitted = result.estimators["pipeline", "subject"]
    assert [pipeline[-1][-1].validation_ for pipeline in fitted] == ["by group"] * 2


@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV])
@pytest.mark.parametrize("routing", [False, True])
def test_groups_reach_the_splitter_of_a_search(kind, routing, people):
    X, y, subject, _ = people
    search = kind(LogisticRegression(), {"C": [0.1, 1.0]}, cv=GroupKFold(2))
    with config_context(enable_metadata_routing=routing):
        result = evaluate(
            {"search": search}, X.reshape(len(X), -1), y, subject=subject, protocols=["subject"], n_splits=2
        )
    assert len(result.folds) == 2


def test_what_is_no_estimator_label_or_name_is_told(people):
    X, y, subject, _ = people
    with pytest.raises(ValueError, match=r"estimators\['a'\] is the class LogisticRegression\. Pass LogisticReg.*\(\)"):
        evaluate({"a": LogisticRegression}, X, y)
    with pytest.raises(ValueError, match="labels of one kind were expected, but y holds NoneType, str"):
        evaluate({"a": pca_lda()}, X, np.where(np.arange(len(y)) == 0, None, y.astype(str)))
    with pytest.raises(ValueError, match="subject= was expected to hold values of one kind, but holds int, str"):
        evaluate({"a": pca_lda()}, X, y, subject=np.array([7, *subject[1:]], dtype=object))
    with pytest.raises(ValueError, match="X was expected to be an array, but is the path"):
        evaluate({"a": pca_lda()}, "faces.npy", y)


def test_numbers_may_come_as_objects(people):
    X, y, subject, _ = people
    index = np.unique(y, return_inverse=True)[1]
    result = evaluate({"a": pca_lda()}, X, index.astype(object), subject=subject, protocols=["subject"], n_splits=2)
    assert result.classes.dtype == int


def test_one_fold_has_no_spread(people):
    X, y, subject, _ = people
    result = evaluate({"a": pca_lda()}, X, y, subject=subject, protocols=["subject"], n_splits=2, max_folds=1)
    assert "±     -" in result.to_text()


def test_fit_gets_subjects_where_clips_are_known_too(recorder):
    n = 24
    subject, clip = np.arange(n) // 6, np.arange(n) // 2
    evaluate({"r": Recorder()}, np.arange(n)[:, None], np.arange(n) % 2, subject=subject, clip=clip, n_splits=2)
    assert Recorder.fits
    for train, groups in Recorder.fits:
        assert groups == subject[np.array(train, dtype=int)].tolist()
