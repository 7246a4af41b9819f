"""The estimator inside scikit-learn's tools: 4-D images, groups, parallel searches, pipelines."""

import numpy as np
import pytest
import sklearn
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.validation import check_is_fitted

SUBJECT = np.repeat(np.arange(4), 6)


def test_clone_has_the_parameters_and_is_not_fitted(fitted_images):
    cloned = clone(fitted_images)
    assert cloned.get_params() == fitted_images.get_params()
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(cloned)


def test_clone_keeps_a_callable_augment(tiny):
    augment = np.multiply
    assert clone(tiny(augment=augment)).augment is augment


def test_cross_val_score_by_subject(colour_images, tiny):
    X, y = colour_images
    scores = cross_val_score(tiny(), X, y, groups=SUBJECT, cv=GroupKFold(4))
    assert scores.shape == (4,)
    assert np.isfinite(scores).all()


def test_cross_val_predict_of_probabilities(colour_images, tiny):
    X, y = colour_images
    probabilities = cross_val_predict(tiny(), X, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(probabilities.sum(1), 1)


def test_groups_through_params_reach_fit(colour_images, tiny):
    X, y = colour_images
    found = cross_validate(
        tiny(validation_fraction=0.3),
        X,
        y,
        groups=SUBJECT,
        cv=GroupKFold(4),
        params={"groups": SUBJECT},
        return_estimator=True,
    )
    assert [clf.validation_ for clf in found["estimator"]] == ["by group"] * 4


def test_groups_through_metadata_routing_reach_fit(colour_images, tiny):
    X, y = colour_images
    with sklearn.config_context(enable_metadata_routing=True):
        clf = tiny(validation_fraction=0.3).set_fit_request(groups=True)
        found = cross_validate(clf, X, y, cv=GroupKFold(4), params={"groups": SUBJECT}, return_estimator=True)
        assert [fold.validation_ for fold in found["estimator"]] == ["by group"] * 4


def test_groups_are_not_routed_unless_requested(colour_images, tiny):
    X, y = colour_images
    with sklearn.config_context(enable_metadata_routing=True):
        clf = tiny(validation_fraction=0.3).set_fit_request(groups=False)
        found = cross_validate(clf, X, y, cv=GroupKFold(4), params={"groups": SUBJECT}, return_estimator=True)
        assert [fold.validation_ for fold in found["estimator"]] == ["random"] * 4


def test_grid_search_in_two_processes(colour_images, tiny):
    X, y = colour_images
    search = GridSearchCV(tiny(max_steps=2), {"head": ["conditional", "gmm"]}, cv=2, n_jobs=2, error_score="raise")
    search.fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (24,)


@pytest.fixture
def one_thread():
    """Let torch use one thread, as it does in joblib's processes on two processors."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def test_same_fold_in_another_process_gives_the_same_scores(colour_images, tiny, one_thread):
    X, y = colour_images
    with parallel_config("loky", inner_max_num_threads=1):
        alone, beside = (cross_val_score(tiny(), X, y, scoring="neg_log_loss", cv=2, n_jobs=n) for n in (1, 2))
    assert alone.tolist() == beside.tolist()


def test_latents_feed_a_random_forest_in_a_pipeline(colour_images, tiny):
    X, y = colour_images
    pipeline = make_pipeline(tiny(), RandomForestClassifier(5, random_state=0)).fit(X, y)
    assert pipeline.score(X, y) > 0.8
    assert len(pipeline[:-1].get_feature_names_out()) == 4 * 4 * 24


def test_calibrated_classifier(colour_images, tiny):
    X, y = colour_images
    calibrated = CalibratedClassifierCV(tiny(), cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)


@pytest.mark.parametrize("passthrough", [False, True])
def test_stacking_classifier(passthrough, colour_images, tiny):
    X, y = colour_images
    if passthrough:
        X, changes = X.reshape(24, -1), {"image_shape": (16, 16, 3)}
    else:
        changes = {}
    members = [("flow", tiny(**changes)), ("mixture", tiny(head="gmm", **changes))]
    stacked = StackingClassifier(members, LogisticRegression(), cv=StratifiedKFold(2), passthrough=passthrough)
    assert stacked.fit(X / 255, y).predict(X / 255).shape == (24,)


def test_voting_classifier(colour_images, tiny):
    X, y = colour_images
    voted = VotingClassifier([("a", tiny()), ("b", tiny(random_state=1))], voting="soft").fit(X, y)
    assert voted.predict(X).shape == (24,)


def test_one_versus_rest_classifier(two_features, tiny):
    X, y = two_features
    assert OneVsRestClassifier(tiny()).fit(X, y).predict_proba(X).shape == (60, 3)


def test_self_training_classifier(two_features, tiny):
    X, y = two_features
    partly = np.where(np.arange(60) < 40, y, -1)
    assert SelfTrainingClassifier(tiny(), max_iter=2).fit(X, partly).predict(X).shape == (60,)


def test_permutation_importance_of_flattened_rows(fitted_images, colour_images):
    X, y = colour_images
    importance = permutation_importance(fitted_images, X.reshape(24, -1), y, n_repeats=1, max_samples=6, random_state=0)
    assert importance.importances.shape == (768, 1)


def test_repr_in_html_and_text(tiny):
    assert "FlowExpressionClassifier" in tiny()._repr_html_()
    assert "n_flows=1" in repr(tiny())
