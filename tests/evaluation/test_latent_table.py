"""Table I: which estimators, which trees, which maps; that a placed map knows no test label."""

import importlib

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from flowexpr.baselines import pca_lda
from flowexpr.embedding import embed_and_place, latents_of
from flowexpr.evaluation import evaluate, latent_table

pytest.importorskip("openTSNE")
table_module = importlib.import_module("flowexpr.evaluation.latent_table")  # the package has a function of that name


@pytest.fixture(scope="module")
def table(tiny_result):
    pytest.importorskip("pandas")
    result, X, y = tiny_result
    return latent_table(result, X, y)


@pytest.fixture(scope="module")
def tiny_result(tiny, draw_images):
    X, y = draw_images(n=36)
    estimators = {"linear": pca_lda(10), "flow": tiny(max_epochs=1)}
    return evaluate(estimators, X, y, n_splits=2, return_estimators=True), X, y


def test_a_row_for_every_classifier_and_both_maps(table):
    assert len(table) == 2 * (1 + 4 * 2)
    assert set(table["classifier"]) == {"itself", "Random Forest", "Extra Trees", "AdaBoost", "Decision Tree"}
    assert table["accuracy"].between(0, 1).all()


def test_the_papers_figures_stand_beside_the_flow_in_its_protocol_alone(table):
    figures = table.dropna(subset=["paper"])
    assert set(figures["estimator"]) == {"flow"}
    assert set(figures["map"]) == {"together", "-"}
    forest = figures[figures["classifier"] == "Random Forest"]
    assert forest["paper"].tolist() == [0.965]


def test_itself_is_the_accuracy_of_the_evaluation(table, tiny_result):
    for row in tiny_result[0].summary():
        own = table[(table["estimator"] == row["estimator"]) & (table["classifier"] == "itself")]
        assert own["accuracy"].item() == pytest.approx(row["accuracy"])


def test_latents_of_a_pipeline_are_what_goes_into_its_last_step(draw_images):
    X, y = draw_images(n=36)
    fitted = pca_lda(10).fit(X, y)
    np.testing.assert_allclose(latents_of(fitted, X), fitted[0].transform(X), rtol=1e-4)


def test_latents_of_a_flow_are_those_under_the_labels_given_or_predicted(fitted_images, colour_images):
    X, y = colour_images
    wrong = np.roll(np.asarray(y), 1)
    np.testing.assert_allclose(latents_of(fitted_images, X), fitted_images.transform(X), atol=1e-5)
    given = fitted_images.encode(X, wrong).z1_prime.reshape(len(X), -1)
    np.testing.assert_allclose(latents_of(fitted_images, X, wrong), given, atol=1e-5)


def test_a_class_that_a_training_fold_lacks_has_the_predicted_latents(tiny, draw_images):
    X, y = draw_images(n=30)
    y[:6], subject = 9, np.arange(30) // 6  # the first person alone shows 9
    result = evaluate({"flow": tiny()}, X, y, subject=subject, protocols=["subject"], return_estimators=True)
    assert any(9 not in fitted.classes_ for fitted in result.estimators["flow", "subject"])
    assert len(latent_table(result, X, y)) == 9


def test_test_points_do_not_move_the_map():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(40, 5)), random.normal(size=(9, 5))
    places, _ = embed_and_place(train, test, random_state=0)
    again, other = embed_and_place(train, 3 + test[:4], random_state=0)
    np.testing.assert_array_equal(places, again)
    assert other.shape == (4, 2)


def test_without_fitted_estimators_it_says_what_to_pass(draw_images):
    X, y = draw_images(n=36)
    with pytest.raises(ValueError, match="Pass evaluate"):
        latent_table(evaluate({"linear": pca_lda(10)}, X, y), X, y)


def test_labels_of_another_kind_are_told(tiny_result):
    result, X, y = tiny_result
    with pytest.raises(ValueError, match="y was expected to be the labels that were evaluated"):
        latent_table(result, X, y + 1)
    with pytest.raises(
        ValueError, match=r"y was expected to be the 36 labels that were evaluated, but has shape \(5,\)"
    ):
        latent_table(result, X[:5], y[:5])


def test_a_pipeline_is_known_by_what_goes_into_its_last_step(draw_images):
    X, y = draw_images(n=36)
    rows = X.reshape(36, -1) / 255
    estimators = {"pipeline": make_pipeline(PCA(5), LogisticRegression()), "none": DummyClassifier()}
    result = evaluate(estimators, rows, y, protocols=["random"], n_splits=2, return_estimators=True)
    assert len(latent_table(result, rows, y)) == 1 + 4 * 2
    del result.estimators["pipeline", "random"]
    with pytest.raises(ValueError, match="no estimator of the result transforms"):
        latent_table(result, rows, y)


def test_trees_see_no_row_that_they_are_tested_on(tiny_result):
    result, _, y = tiny_result
    fitted = result.estimators["flow", "random"]
    folds = list(table_module._folds(result, "flow", "random", fitted, np.ones(len(y), dtype=bool)))
    assert len(folds) == 2
    for train, test, _ in folds:
        assert not set(train) & set(test)
        assert sorted([*train, *test]) == list(range(len(y)))


def test_placed_latents_are_those_of_the_predictions(tiny_result, monkeypatch):
    result, X, y = tiny_result
    estimator, train, test = result.estimators["flow", "random"][0], np.arange(18), np.arange(18, 36)
    given = []

    def recorded(*latents):
        given.extend(latents[:2])
        return embed_and_place(*latents)

    monkeypatch.setattr(table_module, "embed_and_place", recorded)
    table_module._maps(estimator, X, y, train, test, 0)
    predicted = latents_of(estimator, X)
    assert np.any(estimator.predict(X) != y)
    assert np.array_equal(given[0], predicted[train])
    assert np.array_equal(given[1], predicted[test])
    assert not np.allclose(predicted, latents_of(estimator, X, y))
