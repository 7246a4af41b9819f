"""Batches: every row once an epoch, the same for the same key, half labelled where labels are few; augmentation."""

import dataclasses

import numpy as np
import pytest
import torch

from flowexpr.signals import ImageSignal, VectorSignal
from flowexpr.training import augment
from flowexpr.training.augment import augment_faces, augment_with
from flowexpr.training.data import TrainingData, generator_for
from flowexpr.training.objective import UNLABELLED


def image_set(draw_images, n=20, augment=False, n_bits=5, shape=(8, 6, 3)):
    X, y = draw_images(n, shape)
    signal = ImageSignal(shape, (0.0, 255.0), n_bits, "uint8")
    return TrainingData(X.reshape(n, -1), y.astype(np.int64), np.arange(n), signal, augment)


def vector_set(n=30, y=None, indices=None):
    rows = np.random.default_rng(0).normal(size=(n, 2))
    y = np.arange(n) % 3 if y is None else y
    return TrainingData(rows, y, np.arange(n) if indices is None else indices, VectorSignal.of(rows))


@pytest.mark.parametrize("batch_size", [1, 7, 10, 64])
def test_every_row_comes_once_an_epoch(batch_size):
    indices = np.array([3, 5, 8, 9, 12, 20, 21, 22, 25, 29])
    data = vector_set(indices=indices)
    batches = data.epoch(batch_size, generator_for(0, 0))
    assert sorted(np.concatenate(batches)) == indices.tolist()
    assert len(batches) == data.n_batches(batch_size)
    assert max(map(len, batches)) <= batch_size


def test_batches_are_of_nearly_equal_size():
    sizes = [len(batch) for batch in vector_set(31).epoch(10, generator_for(0, 0))]
    assert max(sizes) - min(sizes) <= 1


def test_order_changes_from_epoch_to_epoch():
    data = vector_set()
    first, second = (np.concatenate(data.epoch(10, generator_for(0, epoch))) for epoch in (0, 1))
    assert not np.array_equal(first, second)


def test_validation_batches_hold_every_row_once_in_order():
    data = vector_set(31)
    assert np.array_equal(np.concatenate(data.in_order(8)), np.arange(31))


@pytest.mark.parametrize("augment", [False, True])
def test_batch_is_a_function_of_its_key(draw_images, augment):
    data = image_set(draw_images, augment=augment)
    rows = np.array([7, 2, 11])
    first, again, later = (data.batch(rows, generator_for(*key)) for key in ((0, 3, 5), (0, 3, 5), (0, 3, 6)))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], later[0])


def test_no_two_steps_or_epochs_draw_the_same():
    seeds, epochs, steps = range(2), range(3), range(4)
    keys = [(seed, epoch) for seed in seeds for epoch in epochs]
    keys += [(seed, epoch, step, 1) for seed in seeds for epoch in epochs for step in steps]
    draws = {float(torch.rand((), generator=generator_for(*key), dtype=torch.float64)) for key in keys}
    assert len(draws) == len(keys)


def test_labels_stay_with_their_rows(draw_images):
    data = image_set(draw_images)
    rows = np.array([7, 2, 11, 4])
    x, y = data.batch(rows, None)
    for row in rows:
        x_alone, y_alone = data.batch(np.array([row]), None)
        (place,) = [i for i in range(4) if torch.equal(x[i], x_alone[0])]
        assert y[place] == y_alone[0] == data.y[row]


def test_validation_batch_has_no_noise(draw_images):
    data = image_set(draw_images, augment=True)
    rows = np.arange(5)
    assert torch.equal(data.batch(rows, None)[0], data.signal.to_model(data.rows[rows]))


class CountingRows(np.ndarray):
    """Rows that remember how many were taken at most at a time."""

    most = 0

    def __getitem__(self, key):
        taken = super().__getitem__(key)
        CountingRows.most = max(CountingRows.most, len(taken) if np.ndim(taken) == 2 else 0)
        return taken


def test_no_more_rows_than_a_batch_are_taken_from_the_array_at_a_time(draw_images):
    data = image_set(draw_images, n=40, augment=True)
    counting = dataclasses.replace(data, rows=data.rows.view(CountingRows))
    for step, rows in enumerate(counting.epoch(7, generator_for(0, 0))):
        counting.batch(rows, generator_for(0, 0, step, 1))
    for rows in counting.in_order(7):
        counting.batch(rows, None)
    assert CountingRows.most == 7


@pytest.mark.parametrize("n_bits", [1, 5, 8])
def test_dequantisation_stays_in_the_pixels_interval(draw_images, n_bits):
    data = image_set(draw_images, n_bits=n_bits)
    rows = np.arange(20)
    noisy, middle = data.batch(rows, generator_for(0))[0], data.batch(rows, None)[0]
    distance = (noisy - middle) * 2**n_bits
    assert distance.min() >= -0.5
    assert distance.max() <= 0.5
    assert distance.std().item() == pytest.approx(12**-0.5, rel=0.05)
    assert middle.min() > -0.5
    assert middle.max() < 0.5


def semi_supervised(n_labelled, n_unlabelled):
    y = np.full(n_labelled + n_unlabelled, UNLABELLED)
    y[:n_labelled] = np.arange(n_labelled) % 3
    return vector_set(len(y), y)


@pytest.mark.parametrize(("n_labelled", "n_unlabelled"), [(6, 90), (40, 10), (25, 25)])
def test_semi_supervised_batches_are_half_labelled(n_labelled, n_unlabelled):
    data = semi_supervised(n_labelled, n_unlabelled)
    for batch in data.epoch(10, generator_for(0, 0)):
        labelled = (data.y[batch] != UNLABELLED).sum()
        assert abs(labelled - (len(batch) - labelled)) <= 2
        assert len(batch) <= 12


@pytest.mark.parametrize(("n_labelled", "n_unlabelled"), [(6, 90), (40, 10), (25, 25)])
def test_semi_supervised_epoch_holds_every_row(n_labelled, n_unlabelled):
    data = semi_supervised(n_labelled, n_unlabelled)
    seen, times = np.unique(np.concatenate(data.epoch(10, generator_for(0, 0))), return_counts=True)
    assert np.array_equal(seen, np.arange(n_labelled + n_unlabelled))
    larger = slice(0, n_labelled) if n_labelled > n_unlabelled else slice(n_labelled, None)
    assert times[larger].max() <= 2


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 10)])
def test_augmentation_keeps_shape_and_range(shape):
    pixels = 255 * torch.rand(40, *shape, generator=torch.Generator().manual_seed(0))
    changed = augment_faces(pixels, torch.Generator().manual_seed(1))
    assert changed.shape == pixels.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert not torch.equal(changed, pixels)


def test_augmentation_mirrors_about_half_of_the_images():
    pixels = torch.zeros(400, 1, 16, 16)
    pixels[..., :4] = 200
    changed = augment_faces(pixels, torch.Generator().manual_seed(0))
    left, right = changed[..., :6].mean((1, 2, 3)), changed[..., -6:].mean((1, 2, 3))
    assert 0.4 < (right > left).double().mean() < 0.6


def test_augmentation_leaves_the_original_alone():
    pixels = 255 * torch.rand(10, 3, 8, 8)
    before = pixels.clone()
    augment_faces(pixels, torch.Generator().manual_seed(1))
    assert torch.equal(pixels, before)


def test_callable_augment_gets_nhwc_floats_and_a_generator():
    seen = {}

    def function(images, generator):
        seen.update(shape=images.shape, dtype=images.dtype, draw=generator.random())
        return images[:, :, ::-1]

    pixels = 255 * torch.rand(2, 3, 4, 6)
    changed = augment_with(function, pixels, torch.Generator().manual_seed(0))
    assert seen["shape"] == (2, 4, 6, 3)
    assert seen["dtype"] == np.float32
    assert torch.equal(changed, pixels.flip(-1))


def test_callable_augment_draws_the_same_for_the_same_key(draw_images):
    def noise(images, generator):
        return images + generator.normal(size=images.shape)

    data = image_set(draw_images, augment=noise)
    first, again = (data.batch(np.arange(4), generator_for(0, 1, 2))[0] for _ in range(2))
    assert torch.equal(first, again)


def test_callable_augment_cannot_change_the_data_in_place(draw_images):
    def blacken(images, generator):
        images[:] = 0
        return images

    data = image_set(draw_images, augment=blacken)
    before = data.rows.copy()
    data.batch(np.arange(4), generator_for(0))
    assert np.array_equal(data.rows, before)


def test_what_a_callable_augment_returns_is_kept_within_the_pixels_range():
    changed = augment_with(lambda images, _: images + 300, torch.zeros(1, 1, 2, 2), torch.Generator().manual_seed(0))
    assert changed.max() == 255


def test_callable_augment_of_another_shape_is_an_error():
    with pytest.raises(
        ValueError,
        match=r"augment was expected to return images of shape \(2, 4, 6, 3\), but returned \(2, 4, 5, 3\)\. "
        "Return an array of the shape that came in",
    ):
        augment_with(lambda images, _: images[:, :, 1:], torch.zeros(2, 3, 4, 6), torch.Generator().manual_seed(0))


def test_noise_of_vectors_is_that_of_their_number():
    rows = np.random.default_rng(0).normal(size=(3000, 2))
    signal = VectorSignal.of(rows)
    data = TrainingData(rows, np.zeros(3000, dtype=np.int64), np.arange(3000), signal)
    noise = data.batch(np.arange(3000), generator_for(0))[0] - data.batch(np.arange(3000), None)[0]
    assert signal.noise > 0.05
    assert noise.std().item() == pytest.approx(signal.noise, rel=0.05)


def test_half_of_the_images_are_partly_erased():
    images = torch.full((400, 1, 16, 16), 128.0)
    changed = (augment._erase(images, generator_for(0)) != images).flatten(1)
    assert 0.4 < changed.any(1).float().mean() < 0.6
    assert 0.02 < changed[changed.any(1)].float().mean() < 0.15


def test_images_are_made_brighter_and_darker(monkeypatch):
    for name in ("_affine", "_erase"):
        monkeypatch.setattr(augment, name, lambda pixels, _: pixels)
    means = augment.augment_faces(torch.full((400, 1, 8, 8), 128.0), generator_for(0)).mean((1, 2, 3))
    assert means.min() < 128 - 0.9 * augment.BRIGHTNESS
    assert means.max() > 128 + 0.9 * augment.BRIGHTNESS
