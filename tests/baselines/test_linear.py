"""The linear baseline: any image shape, never more components than the data span, and able to learn."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, cross_validate

from flowexpr.baselines import PixelPCA, pca_lda


def two_classes(n=60, shape=(8, 8, 3), seed=0):
    """Noise images; those of class 1 are brighter in the upper half."""
    y = np.arange(n) % 2
    X = np.random.default_rng(seed).integers(0, 200, (n, *shape), dtype=np.uint8)
    X[y == 1, : shape[0] // 2] += 50
    return X, y


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 6, 3), (192,)])
def test_takes_images_of_any_shape(shape):
    X, y = two_classes(shape=shape)
    assert pca_lda(random_state=0).fit(X, y).predict_proba(X).shape == (60, 2)


def test_four_dimensional_images_in_cross_validate_by_subject():
    X, y = two_classes()
    subject = np.arange(60) // 6
    scores = cross_validate(pca_lda(random_state=0), X, y, groups=subject, cv=GroupKFold(5))
    assert scores["test_score"].mean() > 0.9


def test_components_are_capped_by_setting_samples_and_values():
    X, _ = two_classes()
    assert PixelPCA(7).fit_transform(X).shape == (60, 7)
    assert PixelPCA(80).fit_transform(X).shape == (60, 59)
    assert PixelPCA(80).fit_transform(X[:, :2, :2, :1]).shape == (60, 4)


def test_direction_without_spread_is_left_out():
    # Kept, it has a spread of 1e-7 in training and decides alone on new images.
    X, y = two_classes(40)
    new, y_new = two_classes(200, seed=1)
    assert pca_lda().fit(X, y).score(new, y_new) > 0.8


def test_constant_images_do_not_fail():
    X = np.full((6, 4, 4), 7, dtype=np.uint8)
    assert np.isfinite(PixelPCA().fit_transform(X)).all()


def test_same_seed_same_components():
    X, _ = two_classes(100, (24, 24, 3))
    first, second = (PixelPCA(5, random_state=3).fit_transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_images_of_another_size_are_refused():
    X, _ = two_classes()
    with pytest.raises(ValueError, match=r"X has 96 values per image, but PixelPCA was fitted on 192"):
        PixelPCA().fit(X).transform(X[:, :4])


def test_single_image_without_batch_axis_is_refused():
    with pytest.raises(ValueError, match=r"at least one image .* has the shape \(8,\). Pass one image as"):
        PixelPCA().fit(np.zeros(8))


def test_feature_names_count_the_kept_components():
    X, _ = two_classes(6)
    assert list(PixelPCA(3).fit(X).get_feature_names_out()) == ["pixelpca0", "pixelpca1", "pixelpca2"]
