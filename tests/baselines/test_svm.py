"""Support-vector machines on pixels and gradients: any image shape, probabilities, able to learn."""

import numpy as np
import pytest

from flowexpr.baselines import HOGFeatures, hog_svm, pca_svm


def stripes(n=60, shape=(24, 24), seed=0):
    """Noise with faint stripes: upright in class 0, lying in class 1."""
    y = np.arange(n) % 2
    X = np.random.default_rng(seed).integers(0, 60, (n, *shape))
    X[y == 0, :, ::4] += 60
    X[y == 1, ::4] += 60
    return X.astype(np.uint8), y


@pytest.mark.parametrize("build", [pca_svm, hog_svm])
@pytest.mark.parametrize("shape", [(24, 24), (24, 24, 3), (24, 36, 1)])
def test_learns_images_of_any_shape(build, shape):
    X, y = stripes(shape=shape)
    new, y_new = stripes(40, shape, seed=1)
    clf = build().fit(X, y)
    assert clf.score(new, y_new) > 0.9
    np.testing.assert_allclose(clf.predict_proba(new).sum(1), 1)


def test_histograms_do_not_see_brightness():
    X, _ = stripes()
    hog = HOGFeatures().fit(X)
    np.testing.assert_allclose(hog.transform(X + np.uint8(50)), hog.transform(X), atol=1e-9)
    assert hog.get_feature_names_out().shape == (hog.transform(X).shape[1],)


@pytest.mark.parametrize("build", [pca_svm, hog_svm])
@pytest.mark.parametrize("n_rare", [2, 4])
def test_class_of_few_images_makes_fewer_inner_folds(build, n_rare):
    X, y = stripes()
    rows = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:n_rare]])
    proba = build().fit(X[rows], y[rows]).predict_proba(X)
    np.testing.assert_allclose(proba.sum(1), 1)
    assert proba[y == 1, 1].mean() > proba[y == 0, 1].mean()


def test_class_of_one_image_is_refused():
    X, y = stripes(21)
    y[:] = 0
    y[20] = 7
    with pytest.raises(ValueError, match="two training images of every class were expected, but of 7 there is one"):
        pca_svm().fit(X, y)


def test_vectors_and_other_shapes_are_refused():
    X, _ = stripes()
    with pytest.raises(ValueError, match=r"at least 12 pixels a side, but has the shape \(60, 576\)"):
        HOGFeatures().fit(X.reshape(60, -1))
    with pytest.raises(ValueError, match=r"images of shape \(20, 24\), but HOGFeatures was fitted on \(24, 24\)"):
        HOGFeatures().fit(X).transform(X[:, :20])
