"""What a result tells: tables that equal sklearn's, people as the unit, and JSON that comes back."""

import json
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, recall_score

from flowexpr.evaluation import EvaluationResult, FoldScore, Predictions, evaluate, tables


@pytest.fixture(scope="module")
def people():
    """120 rows of 10 subjects of unlike difficulty, 3 classes."""
    rng = np.random.default_rng(0)
    subject = np.repeat([f"S{i}" for i in range(10)], 12)
    y = np.tile(np.array(["anger", "fear", "joy"]), 40)
    signal = 2 * (y[:, None] == np.array(["anger", "fear", "joy", "none"]))
    return rng.normal(size=(120, 4)) + signal * np.repeat(np.linspace(0, 2, 10), 12)[:, None], y, subject


@pytest.fixture(scope="module")
def result(people):
    X, y, subject = people
    estimators = {"good": LogisticRegression(), "dummy": DummyClassifier()}
    return evaluate(estimators, X, y, subject=subject, protocols=("random", "subject"), random_state=3)


def by_hand(y_true, y_pred, subject=None, fold=None):
    """A result of one estimator, "m", under "subject", of given predictions of the classes 0 and 1."""
    y_true, y_pred = np.array(y_true), np.array(y_pred)
    fold = np.zeros(len(y_true), dtype=int) if fold is None else np.array(fold)
    proba = np.eye(2)[y_pred]
    subject = None if subject is None else np.array(subject)
    pooled = Predictions(np.arange(len(y_true)), fold, y_true, y_pred, proba, subject)
    score = FoldScore("m", "subject", 0, 1, len(y_true), float(np.mean(y_true == y_pred)), 0.5, 0.1, 1.0, 1.0)
    return EvaluationResult(np.array([0, 1]), [score], {("m", "subject"): pooled}, {})


def test_interval_is_that_of_t_on_the_means_of_subjects(result):
    scores = [row["accuracy"] for row in result.subject_scores("good", "subject")]
    row = next(row for row in result.summary() if (row["estimator"], row["protocol"]) == ("good", "subject"))
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert row["n_subjects"] == 10
    assert row["subject_accuracy"] == pytest.approx(np.mean(scores))
    assert row["accuracy_low"] == pytest.approx(expected.low)
    assert row["accuracy_high"] == pytest.approx(min(expected.high, 1))


def test_images_of_one_person_make_no_interval_narrower():
    few = by_hand([0, 0, 1, 1], [0, 1, 1, 1], subject=["a", "b", "c", "d"])
    many = by_hand([0, 0, 1, 1] * 9, [0, 1, 1, 1] * 9, subject=["a", "b", "c", "d"] * 9)
    rows = few.summary()[0], many.summary()[0]
    assert rows[0]["accuracy_low"] == rows[1]["accuracy_low"] < 0.5


def test_without_subjects_there_is_no_interval(people):
    X, y, _ = people
    alone = evaluate({"m": DummyClassifier()}, X, y)
    assert alone.summary()[0]["accuracy_low"] is None
    with pytest.raises(ValueError, match=r"scores by subject need the subjects\. Pass subject= to evaluate"):
        alone.subject_scores("m", "random")


def test_subject_scores(result):
    pooled = result.predictions["good", "subject"]
    rows = pooled.subject == "S3"
    score = result.subject_scores("good", "subject")[3]
    assert (score["subject"], score["n"]) == ("S3", 12)
    assert score["accuracy"] == np.mean(pooled.y_true[rows] == pooled.y_pred[rows])


def test_mean_log_loss_of_subjects_is_that_of_the_images(result):
    pooled = result.predictions["good", "random"]
    of_truth = pooled.proba[np.arange(120), np.searchsorted(result.classes, pooled.y_true)]
    losses = [row["log_loss"] for row in result.subject_scores("good", "random")]
    assert np.mean(losses) == pytest.approx(-np.log(of_truth).mean())


def test_comparison_is_paired_over_subjects(result):
    scores = [[row["accuracy"] for row in result.subject_scores(name, "subject")] for name in ("good", "dummy")]
    found = result.compare("good", "dummy", "subject")
    paired = stats.ttest_rel(*scores).confidence_interval(0.95)
    assert found["difference"] == pytest.approx(np.mean(scores[0]) - np.mean(scores[1]))
    assert (found["low"], found["high"]) == pytest.approx((paired.low, paired.high))
    assert found["p_value"] == pytest.approx(stats.wilcoxon(*scores).pvalue)
    assert found["a_better"] + found["b_better"] + found["ties"] == found["n_subjects"] == 10


def test_comparison_turned_round(result):
    one, other = result.compare("good", "dummy", "subject"), result.compare("dummy", "good", "subject")
    assert one["difference"] == pytest.approx(-other["difference"])
    assert one["p_value"] == other["p_value"]


def test_estimators_that_never_differ_are_no_error(result):
    found = result.compare("good", "good", "subject")
    assert (found["difference"], found["p_value"], found["ties"]) == (0, 1, 10)


def test_summary_holds_recall_and_calibration_of_the_pooled_predictions(result):
    row, pooled = result.summary()[0], result.predictions["good", "random"]
    recalls = recall_score(pooled.y_true, pooled.y_pred, average=None)
    assert [row["recall_anger"], row["recall_fear"], row["recall_joy"]] == pytest.approx(recalls.tolist())
    assert 0 < row["ece"] < 1


def test_averaged_confusion_matrix_is_the_mean_of_those_of_the_folds(result):
    pooled = result.predictions["good", "subject"]
    parts = [
        confusion_matrix(pooled.y_true[pooled.fold == k], pooled.y_pred[pooled.fold == k], normalize="true")
        for k in range(5)
    ]
    found = result.confusion_matrix("good", "subject", normalize="true", average="folds")
    np.testing.assert_allclose(found, np.mean(parts, axis=0))


def test_a_fold_without_a_class_has_no_part_in_its_mean():
    found = by_hand([0, 1, 1, 1], [0, 1, 0, 1], fold=[0, 0, 1, 1]).confusion_matrix(
        "m", "subject", normalize="true", average="folds"
    )
    np.testing.assert_allclose(found, [[1, 0], [0.25, 0.75]])


def test_tables_are_data_frames_with_a_row_each(result):
    pytest.importorskip("pandas")
    assert list(result.folds_table().columns[:3]) == ["estimator", "protocol", "fold"]
    assert [len(result.summary_table()), len(result.folds_table()), len(result.subject_table())] == [4, 20, 40]
    assert result.class_table().groupby(["protocol", "estimator"])["n"].sum().eq(120).all()


def test_tables_are_dicts_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert tables.tidy([{"subject": "S0"}]) == [{"subject": "S0"}]


def test_json_brings_everything_back(result, tmp_path):
    result.to_json(tmp_path / "result.json")
    for source in (tmp_path / "result.json", str(tmp_path / "result.json"), result.to_json()):
        again = EvaluationResult.from_json(source)
        assert again.to_json() == result.to_json()
        assert again.compare("good", "dummy", "subject") == result.compare("good", "dummy", "subject")
        np.testing.assert_array_equal(
            again.predictions["good", "random"].proba, result.predictions["good", "random"].proba
        )


def test_json_of_another_format_is_refused(result):
    with pytest.raises(ValueError, match="format 99, not 1: another version of flowexpr wrote it"):
        EvaluationResult.from_json(result.to_json().replace('"format": 1', '"format": 99'))


@pytest.mark.parametrize("text", ["{}", "[1]", '{"classes": [1]}'])
def test_other_json_is_refused(text, tmp_path):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match=r"what EvaluationResult\.to_json wrote, predictions included, was expected"):
        EvaluationResult.from_json(tmp_path / "other.json")


def test_summary_averages_the_folds(people):
    X, y, subject = people
    result = evaluate({"m": LogisticRegression()}, X, y, subject=subject)
    row = result.summary()[1]
    folds = [fold for fold in result.folds if fold.protocol == "subject"]
    assert (row["protocol"], row["estimator"], row["folds"]) == ("subject", "m", 5)
    assert row["accuracy"] == pytest.approx(np.mean([fold.accuracy for fold in folds]))
    assert row["accuracy_std"] == pytest.approx(np.std([fold.accuracy for fold in folds]))
    assert row["fit_seconds"] == pytest.approx(sum(fold.fit_seconds for fold in folds))


def test_text_is_aligned_and_explains_the_protocols(people):
    X, y, subject = people
    text = evaluate({"a long name": DummyClassifier(), "m": DummyClassifier()}, X, y, subject=subject).to_text()
    table, _, notes = text.partition("\n\n")
    assert len({len(line) for line in table.splitlines()}) == 1
    assert notes.splitlines()[1].startswith("subject: no subject stands on both sides")


def test_json_holds_scores_settings_and_matrices(people, tmp_path):
    X, y, subject = people
    protocols = ("random", "subject")
    result = evaluate({"m": LogisticRegression()}, X, y, subject=subject, protocols=protocols, random_state=3)
    text = result.to_json(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(text)
    content = json.loads(text)
    assert content["classes"] == ["anger", "fear", "joy"]
    assert content["settings"]["random_state"] == 3
    assert content["settings"]["n_subjects"] == 10
    assert len(content["folds"]) == 10
    assert np.sum(content["confusion_matrices"][0]["counts"]) == 120


def test_confusion_matrix_counts_all_test_rows(people):
    X, y, subject = people
    X[y == "anger"] *= 0.5  # so that anger is taken for fear at another rate than fear for anger
    result = evaluate({"m": LogisticRegression()}, X, y, subject=subject)
    matrix = result.confusion_matrix("m", "subject")
    pooled = result.predictions["m", "subject"]
    assert matrix.sum() == 120
    assert matrix[0, 1] == np.sum((pooled.y_true == "anger") & (pooled.y_pred == "fear"))
    np.testing.assert_allclose(result.confusion_matrix("m", "subject", normalize="true").sum(axis=1), 1)


def test_confusion_matrix_of_something_not_evaluated(people):
    X, y, subject = people
    result = evaluate({"m": DummyClassifier()}, X, y, subject=subject)
    with pytest.raises(ValueError, match=r"\('m', 'clip'\) was not evaluated. Choose one of \('m', 'random'\)"):
        result.confusion_matrix("m", "clip")


def test_an_estimator_ties_with_itself(people):
    X, y, subject = people
    result = evaluate({"a": DummyClassifier(), "b": DummyClassifier()}, X, y, subject=subject, protocols=["subject"])
    found = result.compare("a", "b", "subject")
    assert (found["a_better"], found["b_better"], found["ties"]) == (0, 0, found["n_subjects"])
