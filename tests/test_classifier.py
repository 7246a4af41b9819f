"""The estimator's methods: images and labels of every kind, latents and back, samples, morphs, copies."""

import copy
import math
import pickle

import joblib
import numpy as np
import pytest
import torch

import flowexpr

LABELS = {
    "strings": np.array(["anger", "fear", "joy"]),
    "objects": np.array(["anger", "fear", "joy"], dtype=object),
    "integers": np.array([5, -1, 12]),
    "floats": np.array([0.0, 1.0, 2.0]),
    "booleans": np.array([False, True]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_labels_of_every_kind(labels, draw_images, tiny):
    X, index = draw_images(n_classes=len(labels))
    y = labels[index]
    clf = tiny(max_steps=2).fit(X, y)
    assert clf.classes_.tolist() == sorted(labels.tolist())
    assert clf.predict(X).dtype == y.dtype
    assert set(clf.predict(X)) <= set(labels.tolist())
    assert clf.sample(3, labels[0])[1].tolist() == [labels[0]] * 3


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 1), (16, 16, 3), (16, 24), (24, 8, 3), (8, 8, 5), (2, 2), (6, 8)])
def test_images_of_every_shape(shape, draw_images, tiny):
    X, y = draw_images(shape=shape)
    clf = tiny(max_steps=2).fit(X, y)
    assert clf.image_shape_ == (*shape, 1)[:3]
    assert clf.n_features_in_ == math.prod(shape)
    assert clf.predict(X).shape == (24,)
    assert clf.predict_proba(X).shape == (24, 3)
    assert clf.decode(clf.encode(X)).shape == X.shape
    assert clf.sample(2)[0].shape == (2, *shape)
    assert clf.morph(X, 0).shape == X.shape
    assert clf.transform(X).shape == (24, math.prod(clf.encode(X).z1.shape[1:]))


def test_grey_images_with_and_without_a_channel_axis_are_the_same(draw_images, tiny, same_weights):
    X, y = draw_images()
    without, with_axis = tiny().fit(X, y), tiny().fit(X[..., None], y)
    assert same_weights(without, with_axis)
    assert np.array_equal(without.predict_proba(X), with_axis.predict_proba(X[..., None]))
    assert np.array_equal(without.predict_proba(X[..., None]), with_axis.predict_proba(X))


def test_float_images_are_trained_as_the_same_bytes(draw_images, tiny, same_weights):
    X, y = draw_images()
    of_bytes = tiny().fit(X, y)
    for scaled in (X / 255, (X / 255).astype(np.float32), X.astype(float), X.astype(np.float32), X.astype(np.int64)):
        clf = tiny().fit(scaled, y)
        assert same_weights(clf, of_bytes)
        assert np.array_equal(clf.predict_proba(scaled), of_bytes.predict_proba(X))


def test_bytes_are_understood_by_a_classifier_of_floats(draw_images, tiny):
    X, y = draw_images()
    clf = tiny().fit(X / 255, y)
    assert np.array_equal(clf.predict_proba(X), clf.predict_proba(X / 255))


@pytest.mark.parametrize("scale", [1, 255])
def test_input_range_is_recorded(scale, draw_images, tiny):
    X, y = draw_images()
    assert tiny(max_steps=1).fit(X / 255 * scale, y).input_range_ == (0, scale)


def test_flattened_rows_are_understood_at_predict(fitted_images, colour_images):
    X, _ = colour_images
    assert np.array_equal(fitted_images.predict_proba(X.reshape(24, -1)), fitted_images.predict_proba(X))
    assert np.array_equal(fitted_images.transform(X.reshape(24, -1)), fitted_images.transform(X))


def test_flat_rows_with_an_image_shape_are_images(colour_images, tiny, same_weights, fitted_images):
    X, y = colour_images
    clf = tiny(image_shape=(16, 16, 3)).fit(X.reshape(24, -1), y)
    assert same_weights(clf, fitted_images)


def test_images_with_realnvp_are_vectors(draw_images, tiny):
    X, y = draw_images(shape=(4, 4))
    clf = tiny(backbone="realnvp", max_steps=2).fit(X, y)
    assert clf.input_range_ is None
    assert clf.encode(X).z1.shape == (24, 16)
    assert clf.sample(2)[0].shape == (2, 4, 4)


@pytest.mark.parametrize(
    "view",
    [
        lambda X: X[:, :, ::-1],
        lambda X: X[:, ::-1],
        lambda X: np.asfortranarray(X),
        lambda X: X.transpose(0, 2, 1, 3),
        lambda X: np.repeat(X, 2, 0)[::2],
    ],
    ids=["mirrored", "upside down", "fortran", "transposed", "strided"],
)
def test_views_of_arrays_are_what_they_show(view, colour_images, tiny, same_weights):
    X, y = colour_images
    X = view(X)
    of_view, of_copy = tiny().fit(X, y), tiny().fit(X.copy(order="C"), y)
    assert same_weights(of_view, of_copy)
    assert np.array_equal(of_view.predict_proba(X), of_view.predict_proba(X.copy(order="C")))


def test_reversed_rows_keep_their_labels(fitted_images, colour_images):
    X, _ = colour_images
    np.testing.assert_array_equal(fitted_images.predict(X[::-1]), fitted_images.predict(X)[::-1])


def test_read_only_arrays_are_taken_everywhere(fitted_images, colour_images):
    X, y = colour_images
    latents = fitted_images.encode(X)
    for level in latents.values():
        level.setflags(write=False)
    assert not X.flags.writeable
    fitted_images.score(X, y)
    fitted_images.transform(X)
    fitted_images.morph(X, y)
    fitted_images.decode(latents)


def test_lists_and_tensors_are_taken(colour_images, tiny, same_weights, fitted_images):
    X, y = colour_images
    assert same_weights(tiny().fit(torch.from_numpy(X.copy()), y.tolist()), fitted_images)
    assert np.array_equal(fitted_images.predict(X.tolist()), fitted_images.predict(X))


def test_fit_changes_neither_data_nor_parameters(draw_images, tiny):
    X, y = draw_images()
    before, clf = (X.copy(), y.copy()), tiny(augment=True)
    parameters = clf.get_params()
    clf.fit(X, y)
    assert np.array_equal(X, before[0])
    assert np.array_equal(y, before[1])
    assert clf.get_params() == parameters


@pytest.mark.parametrize("n_bits", [1, 5, 8])
@pytest.mark.parametrize("precision", ["float32", "float64", "mixed"])
@pytest.mark.parametrize("head", ["conditional", "gmm"])
def test_decode_undoes_encode_exactly(head, precision, n_bits, colour_images, tiny):
    X, y = colour_images
    clf = tiny(n_bits=n_bits, precision=precision, head=head, n_flows=2).fit(X, y)
    decoded = clf.decode(clf.encode(X))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, X >> (8 - n_bits) << (8 - n_bits))


@pytest.mark.parametrize("precision", ["float32", "float64", "mixed"])
def test_decode_undoes_encode_exactly_far_from_the_training_set(precision, tiny):
    """A flow of flat images magnifies what it has never seen; float32 and bfloat16 alone would not invert it."""
    random = np.random.default_rng(0)
    flat = np.repeat(np.arange(24, dtype=np.uint8) % 3 * 60, 16 * 16 * 3).reshape(24, 16, 16, 3)
    clf = tiny(n_bits=8, precision=precision, n_flows=4, max_epochs=20, learning_rate=3e-3)
    clf.fit(flat, np.arange(24) % 3)
    noise = random.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    latents = clf.encode(noise)
    assert latents.z1.dtype == np.float64  # the guard: float32 was not enough here
    assert np.array_equal(clf.decode(latents), noise)


@pytest.mark.parametrize("dtype", [">f4", ">i2", np.longdouble, np.float16])
def test_any_number_type_is_understood(dtype, fitted_images, colour_images):
    X, _ = colour_images
    assert np.array_equal(fitted_images.predict_proba(X.astype(dtype)), fitted_images.predict_proba(X))


def test_floats_to_one_are_an_error_for_a_classifier_of_bytes(fitted_images, colour_images):
    X, _ = colour_images
    with pytest.raises(
        ValueError, match=r"fitted on images within 0\.\.255, but X runs from .* to 0\.97.*\. Scale X as"
    ):
        fitted_images.predict(X / 255)


def test_fit_trains_whatever_torch_mode_holds_around_it(two_features, tiny):
    expected = tiny(max_steps=3).fit(*two_features).predict_proba(two_features[0])
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert np.array_equal(tiny(max_steps=3).fit(*two_features).predict_proba(two_features[0]), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decoded_floats_are_quantised_in_their_range_and_type(dtype, colour_images, tiny):
    X, y = colour_images
    scaled = (X / 255).astype(dtype)
    clf = tiny(max_steps=2).fit(scaled, y)
    decoded = clf.decode(clf.encode(scaled))
    assert decoded.dtype == dtype
    np.testing.assert_allclose(decoded, (X >> 3 << 3) / 255, rtol=1e-6)


def test_decode_of_bytes_by_a_classifier_of_floats_is_in_the_fits_range(colour_images, tiny):
    X, y = colour_images
    clf = tiny(max_steps=2).fit((X / 255).astype(np.float32), y)
    np.testing.assert_allclose(clf.decode(clf.encode(X)), (X >> 3 << 3) / 255, rtol=1e-6)


def test_decode_undoes_encode_of_vectors(fitted_vectors, two_features):
    X, _ = two_features
    np.testing.assert_allclose(fitted_vectors.decode(fitted_vectors.encode(X)), X, rtol=1e-4, atol=1e-4)


def test_latents_of_any_real_kind_are_decoded_and_others_refused(fitted_vectors, two_features):
    latents = dict(fitted_vectors.encode(two_features[0]))
    labels = latents.pop("y")
    decoded = fitted_vectors.decode(latents)
    assert np.array_equal(
        fitted_vectors.decode({k: z.astype(z.dtype.newbyteorder(">")) for k, z in latents.items()}), decoded
    )
    for wrong, message in (
        ({k: z.astype(object) for k, z in latents.items()}, "real numbers, but is of dtype object"),
        ({k: z + 0j for k, z in latents.items()}, "real numbers, but is of dtype complex"),
        ({"z1_prime": latents["z1_prime"][:, 0], "y": labels}, r"z1_prime was expected to have shape \(n, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted_vectors.decode(wrong)


def test_vectors_of_every_float_are_fitted(two_features, tiny):
    X, y = two_features
    longer, shorter = X.astype(np.longdouble), torch.from_numpy(X.copy()).bfloat16()
    for given, same in ((longer, X), (shorter, shorter.float())):
        found = tiny(max_steps=2).fit(given, y).predict_proba(given)
        np.testing.assert_allclose(found, tiny(max_steps=2).fit(same, y).predict_proba(same), atol=1e-9)


def test_decode_makes_z1_from_z1_prime_and_labels(fitted_images, colour_images):
    X, y = colour_images
    latents = fitted_images.encode(X, y)
    whole = fitted_images.decode(latents)
    del latents["z1"]
    assert np.array_equal(fitted_images.decode(latents), whole)


def test_encode_names_every_latent(fitted_images, colour_images):
    X, _ = colour_images
    latents = fitted_images.encode(X)
    assert set(latents) == {"z1", "z1_prime", "z2", "y"}
    assert latents.z1.shape == latents.z1_prime.shape == (24, 4, 4, 24)
    assert latents.z2.shape == (24, 8, 8, 6)
    assert latents.z1.size + latents.z2.size == X.size
    assert all(latents[name].dtype == np.float32 for name in ("z1", "z1_prime", "z2"))


def test_encode_takes_z1_prime_under_the_predicted_class(fitted_images, colour_images):
    X, _ = colour_images
    assert np.array_equal(fitted_images.encode(X).y, fitted_images.predict(X))
    predicted = fitted_images.encode(X, fitted_images.predict(X)).z1_prime
    assert np.array_equal(fitted_images.encode(X).z1_prime, predicted)


def test_encode_takes_z1_prime_under_given_classes(fitted_images, colour_images):
    X, y = colour_images
    assert np.array_equal(fitted_images.encode(X, y).y, y)
    assert fitted_images.encode(X, "joy").y.tolist() == ["joy"] * 24
    assert not np.array_equal(fitted_images.encode(X, "joy").z1_prime, fitted_images.encode(X, "fear").z1_prime)
    assert np.array_equal(fitted_images.encode(X, "joy").z1, fitted_images.encode(X, "fear").z1)


def test_encode_adds_no_noise(fitted_images, colour_images):
    X, _ = colour_images
    assert np.array_equal(fitted_images.encode(X).z1, fitted_images.encode(X).z1)
    # Pixels of one level of the 5 bits have the same latent.
    assert np.array_equal(fitted_images.encode(X | 7).z1, fitted_images.encode(X & 0xF8).z1)


def test_transform_is_z1_prime_under_the_predicted_class(fitted_images, colour_images):
    X, _ = colour_images
    transformed = fitted_images.transform(X)
    assert transformed.dtype == np.float32
    assert np.array_equal(transformed, fitted_images.encode(X).z1_prime.reshape(24, -1))


def test_feature_names_out_name_every_value(fitted_images, colour_images):
    names = fitted_images.get_feature_names_out()
    assert len(names) == fitted_images.transform(colour_images[0]).shape[1]
    assert names[0] == "flowexpressionclassifier0"


def test_transform_as_a_data_frame(two_features, tiny):
    pd = pytest.importorskip("pandas")
    X, y = two_features
    frame = tiny(max_steps=1).set_output(transform="pandas").fit(X, y).transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert frame.shape == (60, 2)


@pytest.mark.parametrize("n", [1, 5])
def test_samples_come_with_their_labels(n, fitted_images):
    X, y = fitted_images.sample(n)
    assert X.shape == (n, 16, 16, 3)
    assert X.dtype == np.uint8
    assert y.shape == (n,)
    assert set(y) <= {"anger", "fear", "joy"}
    assert (X % 8 == 0).all()  # quantised to 5 bits


def test_samples_have_the_asked_classes(fitted_images):
    assert fitted_images.sample(3, ["joy", "anger", "joy"])[1].tolist() == ["joy", "anger", "joy"]


def test_classes_of_samples_follow_the_prior(two_features, tiny):
    clf = tiny(max_steps=1, class_prior=[0.7, 0.2, 0.1]).fit(*two_features)
    y = clf.sample(5000, random_state=0)[1]
    np.testing.assert_allclose(np.bincount(y) / 5000, [0.7, 0.2, 0.1], atol=0.03)


def test_samples_repeat_with_a_random_state(fitted_images):
    first, again, other = (fitted_images.sample(3, random_state=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_sampled_constant_features_are_what_they_were(tiny, two_features, tmp_path):
    X, y = two_features
    X = np.column_stack([X, np.full(len(X), 0.1)])
    clf = tiny().fit(X, y)
    assert (clf.sample(50, random_state=0)[0][:, 2] == 0.1).all()
    clf.save(tmp_path / "model")
    assert (flowexpr.load(tmp_path / "model").sample(50, random_state=0)[0][:, 2] == 0.1).all()
    X[:, 2] += np.arange(len(X)) % 2  # goes on where the feature varies
    clf.set_params(warm_start=True).fit(X, y)
    assert np.ptp(clf.sample(50, random_state=0)[0][:, 2]) > 0


def test_samples_at_a_low_temperature_vary_less(fitted_vectors):
    cold, warm = (fitted_vectors.sample(500, 0, temperature=t, random_state=0)[0].std(0) for t in (0.1, 1.0))
    assert (cold < 0.5 * warm).all()


def test_samples_of_a_class_are_recognised(tiny, two_features):
    clf = tiny(n_flows=3, hidden_channels=32, max_epochs=150, learning_rate=0.01).fit(*two_features)
    X, y = clf.sample(200, np.arange(200) % 3, random_state=0)
    assert (clf.predict(X) == y).mean() > 0.8


def test_morph_of_no_strength_gives_the_quantised_images(fitted_images, colour_images):
    X, _ = colour_images
    assert np.array_equal(fitted_images.morph(X, "joy", strength=0), X >> 3 << 3)


def test_morph_from_a_class_to_itself_gives_the_quantised_images(fitted_images, colour_images):
    X, y = colour_images
    assert np.array_equal(fitted_images.morph(X, y, from_=y), X >> 3 << 3)


@pytest.mark.parametrize("from_", [None, "anger"])
def test_morph_moves_every_latent_by_the_class_means(from_, fitted_images, colour_images):
    X, _ = colour_images
    latents = fitted_images.encode(X)
    for name, (anger, fear, joy) in zip(("z1", "z2"), fitted_images.class_latents_, strict=True):
        start = anger if from_ else (anger + fear) / 2
        latents[name] = latents[name] + np.float32(0.5) * (joy - start)
    by_hand = fitted_images.decode(latents).astype(int)
    morphed = fitted_images.morph(X, "joy", from_=from_, strength=0.5).astype(int)
    # Rounding of the means may move a pixel on the border of two levels.
    assert (np.abs(morphed - by_hand) > 0).mean() < 1e-3
    assert not np.array_equal(morphed, X >> 3 << 3)


def test_class_latents_are_means_over_the_third_that_the_model_is_surest_of(fitted_images, colour_images):
    X, y = colour_images  # fewer samples than are averaged at most
    latents, likelihood = fitted_images.encode(X), fitted_images.class_log_likelihood(X)
    for i, label in enumerate(fitted_images.classes_):
        margin = likelihood[:, i] - np.delete(likelihood, i, axis=1).max(axis=1)
        rows = np.flatnonzero(y == label)
        surest = rows[np.argsort(-margin[rows])][:3]
        for name, means in zip(("z1", "z2"), fitted_images.class_latents_, strict=True):
            np.testing.assert_allclose(means[i], latents[name][surest].mean(0), atol=1e-4)


def test_morph_takes_a_class_for_every_image(fitted_images, colour_images):
    X, y = colour_images
    together = fitted_images.morph(X, np.roll(y, 1))
    for label in ("anger", "fear", "joy"):
        alone = fitted_images.morph(X, label)
        chosen = np.roll(y, 1) == label
        assert (together[chosen] != alone[chosen]).mean() < 1e-3


def test_morphed_vectors_move_towards_the_class(tiny, two_features):
    X, y = two_features
    clf = tiny(n_flows=3, max_epochs=60, learning_rate=0.01).fit(X, y)
    start = X[y == 0]
    likelier = clf.class_log_likelihood(clf.morph(start, 2, from_=0))[:, 2] > clf.class_log_likelihood(start)[:, 2]
    assert likelier.mean() > 0.9


def test_zeroed_z1_leaves_an_affine_map_by_class(colour_images, tiny):
    X, y = colour_images
    clf = tiny(zero_z1=True, head_n_flows=2, max_epochs=5, learning_rate=0.01).fit(X, y)
    latents = [clf.encode(X, label) for label in clf.classes_]
    z1, primes = latents[0].z1.reshape(24, -1).astype(float), [found.z1_prime.reshape(24, -1) for found in latents]
    middle = 0.3 * z1[0] + 0.7 * z1[1]
    for label, prime in zip(clf.classes_, primes, strict=True):
        index = torch.tensor([list(clf.classes_).index(label)])
        as_tensor = torch.from_numpy(middle.reshape(1, 4, 4, 24)).float().permute(0, 3, 1, 2)
        with torch.inference_mode():
            found = clf.module_.head(as_tensor, index)[0].permute(0, 2, 3, 1).reshape(-1).numpy()
        np.testing.assert_allclose(found, 0.3 * prime[0] + 0.7 * prime[1], atol=1e-3)
    assert not np.allclose(primes[0], primes[1])


def test_gmm_head_subtracts_a_mean(colour_images, tiny):
    X, y = colour_images
    clf = tiny(head="gmm").fit(X, y)
    means = clf.module_.head.means.detach().permute(0, 2, 3, 1).numpy()
    for index, label in enumerate(clf.classes_):
        latents = clf.encode(X, label)
        np.testing.assert_allclose(latents.z1_prime, latents.z1 - means[index], atol=1e-5)


def test_random_means_stay_and_learned_means_move(two_features, tiny):
    def means(**changes):
        return tiny(head="gmm", **changes).fit(*two_features).module_.head.means

    assert torch.equal(means(max_epochs=1), means(max_epochs=5))
    assert not torch.equal(means(max_epochs=1, gmm_means="learned"), means(max_epochs=5, gmm_means="learned"))


@pytest.mark.parametrize(
    "copied",
    [lambda clf, _: pickle.loads(pickle.dumps(clf)), lambda clf, _: copy.deepcopy(clf), None],
    ids=["pickle", "deepcopy", "joblib"],
)
def test_copies_predict_the_same(copied, fitted_images, colour_images, tmp_path):
    X, _ = colour_images
    if copied is None:
        joblib.dump(fitted_images, tmp_path / "model.joblib")
        copied = lambda clf, folder: joblib.load(folder / "model.joblib")  # noqa: E731
    other = copied(fitted_images, tmp_path)
    assert other is not fitted_images
    assert np.array_equal(other.predict_proba(X), fitted_images.predict_proba(X))
    assert np.array_equal(other.transform(X), fitted_images.transform(X))
    assert other.history_ == fitted_images.history_


def test_copies_are_independent(two_features, tiny):
    clf = tiny(max_steps=1).fit(*two_features)
    before = clf.predict_proba(two_features[0])
    other = copy.deepcopy(clf)
    other.set_params(max_steps=5, random_state=3).fit(*two_features)
    assert np.array_equal(clf.predict_proba(two_features[0]), before)


def test_unfitted_estimator_can_be_pickled(tiny):
    assert pickle.loads(pickle.dumps(tiny())).get_params() == tiny().get_params()


def test_score_leaves_unlabelled_rows_out(two_features, tiny):
    X, y = two_features
    clf = tiny(unlabeled=-1, max_epochs=5).fit(X, y)
    partly = np.where(np.arange(60) < 20, y, -1)
    assert clf.score(X, partly) == (clf.predict(X[:20]) == y[:20]).mean()
    weight = np.arange(60.0)
    assert clf.score(X, partly, weight) == pytest.approx(clf.score(X[:20], y[:20], weight[:20]))
