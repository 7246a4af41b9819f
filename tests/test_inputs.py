"""Wrong input: what was expected, what came, what to do; before any training."""

import copy

import numpy as np
import pytest
import sklearn
import torch

from flowexpr import PAPER, FlowExpressionClassifier, inputs
from flowexpr.inputs import as_array, as_rows, check_pixels, find_input_range
from flowexpr.parameters import CHECKS, choose_n_blocks, resolve_device
from flowexpr.training.loop import Trainer


@pytest.fixture
def no_training(monkeypatch):
    """Fail where training begins: an error must come before."""

    def begin(self):
        pytest.fail("training began")

    monkeypatch.setattr(Trainer, "run", begin)


def images(n=12, shape=(16, 16), dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 255, (n, *shape)).astype(dtype)


Y = np.arange(12) % 3

DATA = {
    "no samples": (images(0), Y[:0], "0 samples?.* (is|but|while|required|minimum)"),
    "no rows": (np.zeros((0, 4)), Y[:0], r"0 sample\(s\) .*while a minimum of 1 is required"),
    "no features": (np.zeros((12, 0)), Y, r"0 feature\(s\) .*while a minimum of 1 is required"),
    "no images of no pixels": (np.zeros((12, 0, 0)), Y, "(0 x 0|0 feature)"),
    "one class": (images(), Y * 0 + 7, r"at least two classes were expected, but y has one class only: \[7\]\. Pass"),
    "NaN": (images(dtype=float) / np.where(Y == 4, 0, 1)[:, None, None] * np.nan, Y, "Input X contains NaN"),
    "infinity": (np.where(images() > 250, np.inf, 0.0), Y, "Input X contains infinity"),
    "NaN in y": (images(), np.where(Y == 0, np.nan, Y), "Input y contains NaN"),
    "short y": (
        images(),
        Y[:-1],
        r"y was expected to hold one label per sample, but X has 12 samples .* and y has 11\.",
    ),
    "no y": (images(), None, "requires y to be passed, but the target y is None"),
    "two columns of y": (images(), np.stack([Y, Y], 1), r"y should be a 1d array, got an array of shape \(12, 2\)"),
    "continuous y": (images(), np.linspace(0.1, 0.7, 12), "Unknown label type: continuous"),
    "odd sides": (images(shape=(15, 16)), Y, r"the image is 15 x 16, but its sides must be divisible by 2\*\*n_blocks"),
    "single image": (images()[0], Y, r"y was expected to hold one label per sample, but X has 16 .*axis, X\[None\]"),
    "five axes": (images(shape=(4, 4, 4, 3)), Y, r"\(n, n_features\), \(n, H, W\) or .*\(12, 4, 4, 4, 3\)"),
    "below 0": (images(dtype=float) - 300, Y, r"expected within 0\.\.1 or 0\.\.255, but X runs from -\d+ to .*Scale"),
    "above 255": (images(dtype=float) * 2, Y, r"expected within 0\.\.1 or 0\.\.255, but X runs from 0 to \d+\. Scale"),
    "16 bits": (images().astype(np.uint16) * 257, Y, r"within 0\.\.1 or 0\.\.255, but X runs from 0 to \d+"),
    "complex": (images().astype(complex), Y, "Complex data not supported"),
    "text": (np.full((12, 3), "a"), Y, "(could not convert string to float|dtype='numeric')"),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.usefixtures("no_training")
def test_wrong_data_is_an_error(name):
    X, y, message = DATA[name]
    with pytest.raises(ValueError, match=message):
        FlowExpressionClassifier().fit(X, y)


PARAMETERS = {
    "backbone": ("resnet", r"backbone='resnet' is not allowed\. Pass one of None, 'glow', 'realnvp'\."),
    "head": ("svm", r"head='svm' is not allowed\. Pass one of 'conditional', 'gmm'\."),
    "image_shape": ((16,), r"image_shape=\(16,\) is not allowed\. Pass None, \(H, W\) or \(H, W, C\)"),
    "n_blocks": (0, r"n_blocks=0 is not allowed\. Pass .*\"auto\" or an integer from 1 to 16\."),
    "n_flows": (0, r"n_flows=0 is not allowed\. Pass an integer of at least 1\."),
    "hidden_channels": (2.5, r"hidden_channels=2\.5 is not allowed\. Pass an integer of at least 1\."),
    "head_n_flows": (-1, r"head_n_flows=-1 is not allowed\. Pass an integer of at least 1\."),
    "head_hidden_channels": ("8", r"head_hidden_channels='8' is not allowed\. Pass an integer of at least 1\."),
    "gmm_means": ("zero", r"gmm_means='zero' is not allowed\. Pass one of 'random', 'learned'\."),
    "class_loss_weight": (-0.1, r"class_loss_weight=-0\.1 is not allowed\. Pass \"auto\" or a number of at least 0\."),
    "class_prior": ("mine", r"class_prior='mine' is not allowed\. Pass .*one of 'empirical', 'uniform'\."),
    "class_weight": ("even", r"class_weight='even' is not allowed\. Pass .*one of None, 'balanced'\."),
    "n_bits": (9, r"n_bits=9 is not allowed\. Pass an integer from 1 to 8\."),
    "augment": ("yes", r"augment='yes' is not allowed\. Pass a callable .*True or False\."),
    "label_smoothing": (1.0, r"label_smoothing=1\.0 is not allowed\. Pass \"auto\" or a number in \[0, 1\)\."),
    "weight_averaging": (1, r"weight_averaging=1 is not allowed\. Pass a number in \[0, 1\)\."),
    "max_epochs": (0, r'max_epochs=0 is not allowed\. Pass "auto" or an integer of at least 1\.'),
    "max_steps": (0, r"max_steps=0 is not allowed\. Pass an integer of at least 1 or None\."),
    "batch_size": (True, r"batch_size=True is not allowed\. Pass \"auto\" or an integer of at least 1\."),
    "learning_rate": (0, r"learning_rate=0 is not allowed\. Pass a number greater than 0\."),
    "schedule": ("linear", r"schedule='linear' is not allowed\. Pass one of 'one-cycle', 'constant'\."),
    "weight_decay": (float("nan"), r"weight_decay=nan is not allowed\. Pass a number of at least 0\."),
    "validation_fraction": (1.5, r"validation_fraction=1\.5 is not allowed\. Pass None or a number in \(0, 1\)\."),
    "patience": (0, r"patience=0 is not allowed\. Pass an integer of at least 1 or None\."),
    "device": (0, r"device=0 is not allowed\. Pass a device name"),
    "precision": ("float16", r"precision='float16' is not allowed\. Pass one of 'auto', 'mixed', 'float32', 'float64'"),
    "memory": ("disk", r"memory='disk' is not allowed\. Pass one of 'auto', 'store', 'reversible'\."),
    "mirror_average": (1, r"mirror_average=1 is not allowed\. Pass True or False\."),
    "calibrate": ("isotonic", r"calibrate='isotonic' is not allowed\. Pass one of None, 'temperature'\."),
    "zero_z1": ("no", r"zero_z1='no' is not allowed\. Pass True or False\."),
    "warm_start": (None, r"warm_start=None is not allowed\. Pass True or False\."),
    "verbose": (-1, r"verbose=-1 is not allowed\. Pass an integer of at least 0\."),
    "unlabeled": (
        float("nan"),
        r"unlabeled=nan is not allowed\. Pass a label \(a string, an integer, a boolean\) or None",
    ),
    "checkpoint_dir": (7, r"checkpoint_dir=7 is not allowed\. Pass a path or None\."),
}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.usefixtures("no_training")
def test_wrong_parameter_is_an_error(name):
    value, message = PARAMETERS[name]
    with pytest.raises(ValueError, match=message):
        FlowExpressionClassifier(**{name: value}).fit(images(), Y)


def test_every_parameter_has_a_wrong_value_above():
    assert set(FlowExpressionClassifier().get_params()) - {"random_state"} == set(PARAMETERS)
    assert set(CHECKS) - {"n_features"} <= set(PARAMETERS)  # that one is the CNN's


COMBINATIONS = {
    "patience without validation": ({"patience": 3}, "patience=3 needs a validation set, but validation_fraction=None"),
    "zero_z1 without h": ({"zero_z1": True, "head": "gmm"}, "zero_z1=True is for head='conditional', but head='gmm'"),
    "prior of 2 classes": ({"class_prior": [0.5, 0.5]}, r"hold 3 positive .*\[0, 1, 2\]\), but is \[0\.5, 0\.5\]"),
    "prior over 1": ({"class_prior": [0.5, 0.5, 0.5]}, r"class_prior .* sum to 1 .* with sum 1\.5"),
    "prior of 0": ({"class_prior": [0.5, 0.5, 0.0]}, "class_prior was expected to hold 3 positive probabilities"),
    "prior of text": ({"class_prior": ["a", "b", "c"]}, r"class_prior=\['a', 'b', 'c'\] is not allowed\. Pass"),
    "prior with NaN": ({"class_prior": [0.5, 0.5, np.nan]}, "class_prior was expected to hold 3 positive"),
    "n_blocks": ({"n_blocks": 5}, r"n_blocks=5 needs sides divisible by 32, .* 16 x 16\. Pass .*1, 2, 3, 4"),
    "other image_shape": ({"image_shape": (8, 8)}, r"image_shape=\(8, 8, 1\) was declared, but .* are \(16, 16, 1\)"),
    "a device that is not supported": ({"device": "mps"}, r"device='mps' was expected to be 'auto', 'cpu' or 'cuda'"),
    "no such device": ({"device": "abacus"}, r"device='abacus' is no torch device\. Pass 'auto', 'cpu' or 'cuda'"),
    "weight of unknown class": ({"class_weight": {9: 2.0}}, "class_weight"),
    "negative weight": ({"class_weight": {0: -2.0}}, r"class_weight=\{0: -2\.0\} is not allowed\. .* greater than 0\}"),
    "zero weight": ({"class_weight": {0: 0.0}}, r"class_weight=\{0: 0\.0\} is not allowed\. .* greater than 0\}"),
    "random_state": ({"random_state": "x"}, "'x' cannot be used to seed"),
}


@pytest.mark.parametrize("name", COMBINATIONS)
@pytest.mark.usefixtures("no_training")
def test_parameters_that_do_not_fit_are_an_error(name):
    changes, message = COMBINATIONS[name]
    with pytest.raises(ValueError, match=message):
        FlowExpressionClassifier(**changes).fit(images(), Y)


def test_a_gpu_beyond_those_there_are_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1").index == 1
    with pytest.raises(ValueError, match=r"device='cuda:7' was asked for, but torch sees 2 CUDA GPUs, counted from 0"):
        resolve_device("cuda:7")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.usefixtures("no_training")
def test_gpu_that_is_not_there_is_an_error():
    with pytest.raises(
        ValueError, match=r"device='cuda' was asked for, but torch sees no CUDA GPU\. Pass device='auto'"
    ):
        FlowExpressionClassifier(device="cuda").fit(images(), Y)


@pytest.mark.parametrize("unlabeled", [-1, "none"])
@pytest.mark.usefixtures("no_training")
def test_no_label_at_all_is_an_error(unlabeled):
    y = np.full(12, unlabeled)
    with pytest.raises(ValueError, match=rf"every label equals unlabeled={unlabeled!r}, but at least two classes"):
        FlowExpressionClassifier(unlabeled=unlabeled).fit(images(), y)


@pytest.mark.usefixtures("no_training")
def test_one_labelled_class_beside_unlabelled_rows_is_an_error():
    with pytest.raises(ValueError, match=r"y has one class only: \[1\]"):
        FlowExpressionClassifier(unlabeled=-1).fit(images(), np.where(Y == 0, 1, -1))


@pytest.mark.usefixtures("no_training")
def test_groups_of_another_length_are_an_error():
    with pytest.raises(ValueError, match=r"groups was expected to have one entry per sample \(12\), but has 11\. Pass"):
        FlowExpressionClassifier().fit(images(), Y, groups=np.arange(11))


@pytest.mark.usefixtures("no_training")
def test_groups_of_several_kinds_are_an_error():
    with pytest.raises(ValueError, match="groups was expected to hold values of one kind, but holds int, str"):
        FlowExpressionClassifier().fit(images(), Y, groups=np.array([1, "a"] * 6, dtype=object))


@pytest.mark.usefixtures("no_training")
def test_single_image_with_a_single_label_is_an_error():
    with pytest.raises(ValueError, match=r"has a single label\. .* a single image needs a batch axis, X\[None\]"):
        FlowExpressionClassifier().fit(images()[0], 1)


@pytest.mark.usefixtures("no_training")
def test_missing_labels_among_strings_are_an_error():
    y = np.array(["a", "b", None] * 4, dtype=object)
    with pytest.raises(ValueError, match=r'y holds NoneType, str\. .* unlabeled="none"'):
        FlowExpressionClassifier().fit(images(), y)


@pytest.mark.usefixtures("no_training")
def test_unlabeled_that_numpy_made_a_string_is_an_error():
    with pytest.raises(ValueError, match=r"numpy made the string '-1' of it\. Pass y as an array of dtype object"):
        FlowExpressionClassifier(unlabeled=-1).fit(images(), np.array(["a", "b", -1] * 4))


@pytest.mark.usefixtures("no_training")
def test_glow_without_an_image_shape_is_an_error():
    with pytest.raises(ValueError, match="backbone='glow' needs images, but X is 2-D and image_shape=None"):
        FlowExpressionClassifier(backbone="glow").fit(images().reshape(12, -1), Y)


@pytest.mark.usefixtures("no_training")
def test_rows_of_another_length_than_image_shape_are_an_error():
    with pytest.raises(ValueError, match=r"image_shape=\(48, 48, 1\) implies 2304 features, but X has 2\. Pass images"):
        FlowExpressionClassifier(image_shape=(48, 48, 1)).fit(np.zeros((12, 2)), Y)


@pytest.mark.usefixtures("no_training")
def test_holding_out_a_whole_class_is_an_error():
    with pytest.raises(ValueError, match=r"holding out \d+ rows \(by group\), no training row is left of class"):
        FlowExpressionClassifier(validation_fraction=0.3).fit(images(), Y, groups=Y)


@pytest.mark.parametrize("groups", [None, np.arange(12)])
@pytest.mark.usefixtures("no_training")
def test_holding_out_nearly_everything_is_an_error(groups):
    with pytest.raises(ValueError, match=r"after holding out 11 rows .* lower validation_fraction"):
        FlowExpressionClassifier(validation_fraction=0.99).fit(images(), Y, groups=groups)


@pytest.mark.usefixtures("no_training")
def test_one_group_cannot_be_split():
    with pytest.raises(ValueError, match=r"at least two were expected, but the labelled rows are of one\. Pass"):
        FlowExpressionClassifier(validation_fraction=0.3).fit(images(), Y, groups=np.zeros(12))


@pytest.mark.usefixtures("no_training")
def test_sparse_input_is_an_error():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse data was passed"):
        FlowExpressionClassifier().fit(sparse.csr_array(np.eye(12)), Y)


@pytest.mark.usefixtures("no_training")
def test_wrong_second_fit_leaves_an_unfitted_estimator_or_the_first_one(tiny):
    with pytest.raises(ValueError, match="one class"):
        tiny().fit(images(), Y * 0)


def test_method_before_fit_is_an_error(tiny):
    clf = tiny()
    for method in ("predict", "transform", "encode", "score_samples"):
        with pytest.raises(ValueError, match="not fitted yet"):
            getattr(clf, method)(images())
    with pytest.raises(ValueError, match="not fitted yet"):
        clf.sample()
    with pytest.raises(ValueError, match="not fitted yet"):
        clf.save("nowhere")


AT_PREDICT = {
    "grey": (images(shape=(16, 16)), r"images of shape \(16, 16, 3\) .* but X has images of shape \(16, 16\)"),
    "another size": (images(shape=(8, 8, 3)), r"images of shape \(16, 16, 3\) \(H, W, C\), but X .* \(8, 8, 3\)"),
    "four channels": (images(shape=(16, 16, 4)), r"shape \(16, 16, 3\) .* but X has images of shape \(16, 16, 4\)"),
    "single image": (images()[0][..., None].repeat(3, 2), r"expected to be a batch .*single image\. Pass X\[None\]"),
    "short rows": (images(shape=(100,)), "X has 100 features, but FlowExpressionClassifier is expecting 768 features"),
    "NaN": (np.full((2, 16, 16, 3), np.nan), "Input X contains NaN"),
    "negative": (-images(shape=(16, 16, 3), dtype=float), r"images within 0\.\.255, but X runs from -\d+ to -?0"),
    "empty": (images(0, (16, 16, 3)), r"0 sample\(s\) .*minimum of 1 is required"),
}


@pytest.mark.parametrize("method", ["predict", "transform", "encode", "class_log_likelihood"])
@pytest.mark.parametrize("name", AT_PREDICT)
def test_other_images_than_fitted_are_an_error(name, method, fitted_images):
    X, message = AT_PREDICT[name]
    with pytest.raises(ValueError, match=message):
        getattr(fitted_images, method)(X)


def test_single_row_is_an_error(fitted_images):
    with pytest.raises(ValueError, match=r"(Reshape your data|X\[None\])"):
        fitted_images.predict(np.zeros(768, dtype=np.uint8))


def test_single_grey_image_is_an_error(tiny):
    clf = tiny(max_steps=1).fit(images(), Y)
    with pytest.raises(ValueError, match=r"has the shape \(16, 16\) of a single image\. Pass X\[None\]"):
        clf.predict(images()[0])


def test_pixels_to_255_are_an_error_where_1_was_white(tiny):
    clf = tiny(max_steps=1).fit(images() / 255, Y)
    with pytest.raises(ValueError, match=r"fitted on images within 0\.\.1, but X runs from 0 to 25\d\. Scale X"):
        clf.predict(images().astype(float))


def test_unknown_label_in_encode_sample_and_morph_is_an_error(fitted_images, colour_images):
    X, _ = colour_images
    expected = r"unknown label 'boredom'\. Pass one of \['anger', 'fear', 'joy'\]"
    with pytest.raises(ValueError, match=expected):
        fitted_images.encode(X, "boredom")
    with pytest.raises(ValueError, match=expected):
        fitted_images.sample(3, "boredom")
    with pytest.raises(ValueError, match=expected):
        fitted_images.morph(X, "boredom")


def test_labels_of_another_length_in_encode_are_an_error(fitted_images, colour_images):
    X, y = colour_images
    with pytest.raises(ValueError, match=r"one label or 24 were expected, but came an array of shape \(3,\)"):
        fitted_images.encode(X, y[:3])


@pytest.mark.parametrize(("n_samples", "temperature"), [(0, 1.0), (2, -1.0)])
def test_wrong_number_or_temperature_of_samples_is_an_error(n_samples, temperature, fitted_images):
    with pytest.raises(ValueError, match=f"n_samples={n_samples}, temperature={temperature}"):
        fitted_images.sample(n_samples, temperature=temperature)


def test_missing_latent_is_an_error(fitted_images, colour_images):
    latents = fitted_images.encode(colour_images[0])
    del latents["z2"]
    with pytest.raises(ValueError, match=r"expected to hold z1, z2, but z2 is missing \(given: .*Pass what"):
        fitted_images.decode(latents)


def test_latent_of_another_shape_is_an_error(fitted_images, colour_images):
    latents = fitted_images.encode(colour_images[0])
    latents["z1"] = latents["z1"][:, :1]
    with pytest.raises(ValueError, match=r"z1 was expected to have shape \(n, 4, 4, 24\), but has \(24, 1, 4, 24\)"):
        fitted_images.decode(latents)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(48, 48, 4), (64, 64, 4), (16, 16, 2), (16, 12, 2), (8, 8, 1), (4, 4, 1), (2, 2, 1), (100, 100, 2), (30, 30, 1)],
)
def test_automatic_n_blocks_makes_a_small_latent_where_the_sides_allow(height, width, expected):
    assert choose_n_blocks("auto", height, width) == expected


def test_only_fitting_n_blocks_is_named_alone():
    with pytest.raises(ValueError, match=r"n_blocks=2 needs sides divisible by 4, but .* 6 x 8\. Pass n_blocks=1, or"):
        choose_n_blocks(2, 6, 8)


def test_black_and_white_floats_are_told_where_255_was_white():
    rows = np.array([[0.0, 1.0, 0.0]])
    with pytest.warns(UserWarning, match="taken as nearly black"):
        check_pixels(rows, (0.0, 255.0))
    check_pixels(rows, (0.0, 1.0))
    check_pixels(np.zeros((1, 3)), (0.0, 255.0))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.zeros((2, 4), np.uint8), (0, 255)),
        (np.array([[0.0, 1.0]]), (0, 1)),
        (np.array([[0.0, 110.0]]), (0, 255)),
        (np.array([[0, 100]]), (0, 255)),
        (np.array([[False, True]]), (0, 1)),
    ],
)
def test_input_range_is_found_from_type_and_values(rows, expected):
    assert find_input_range(rows, 5) == expected


def test_input_range_allows_for_rounding():
    assert find_input_range(np.array([[0.0, 1.0000001]]), 5) == (0, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_images_of_few_grey_levels_are_warned_of(dtype):
    rows = np.array([[0, 3], [1, 2]], dtype)
    with pytest.warns(
        UserWarning, match=r"images that run from 0 to 3 are taken as grey levels 0\.\.255, of which n_bits"
    ):
        assert find_input_range(rows, 5) == (0, 255)


def test_images_of_as_few_levels_as_n_bits_keeps_are_fine():
    assert find_input_range(np.array([[0.0, 255.0]]), 1) == (0, 255)


def test_input_range_is_found_a_piece_at_a_time(monkeypatch):
    monkeypatch.setattr("flowexpr.inputs.CHUNK_BYTES", 8)
    rows = np.array([[0.5], [200.0], [0.0]])
    assert find_input_range(rows, 5) == (0, 255)


def test_pixels_are_checked_a_piece_at_a_time(monkeypatch):
    class Pieces(np.ndarray):
        def __ne__(self, other):
            assert len(self) == 1
            return np.asarray(self) != other

    monkeypatch.setattr("flowexpr.inputs.CHUNK_BYTES", 8)
    rows = np.array([[0.5], [1.0], [0.0]]).view(Pieces)
    check_pixels(rows, (0.0, 1.0))
    with pytest.raises(ValueError, match=r"within 0\.\.255, but X runs from 0 to 1"):
        check_pixels(rows, (0.0, 255.0))


def test_floats_in_physical_units_are_warned_of():
    celsius = np.array([[22.0, 37.0]])
    with pytest.warns(UserWarning, match=r"run from 22 to 37 are taken as grey levels 0..255, of which n_bits=5 keeps"):
        assert find_input_range(celsius, 5) == (0, 255)
    assert find_input_range(celsius, 8) == (0, 255)  # enough levels: no warning


def test_the_papers_settings_are_all_parameters():
    assert set(PAPER) <= set(FlowExpressionClassifier().get_params())


@pytest.mark.usefixtures("no_training")
def test_the_papers_model_recomputes_its_activations():
    flow = FlowExpressionClassifier(**PAPER)
    with pytest.raises(pytest.fail.Exception, match="training began"):
        flow.fit(images(16, (64, 64, 3)), np.arange(16) % 3)
    assert flow.memory_ == "reversible"  # by the batches of 16 that it may get


@pytest.mark.parametrize(
    "groups",
    [
        np.where(Y == 0, np.nan, Y),
        ["anne" if y else float("nan") for y in Y],
        [None if y == 0 else "anne" for y in Y],
        np.where(Y == 0, np.datetime64("NaT", "D"), np.datetime64("2026-11-28")),
    ],
    ids=["floats", "strings", "objects", "dates"],
)
@pytest.mark.usefixtures("no_training")
def test_groups_with_missing_names_are_an_error(groups):
    with pytest.raises(ValueError, match=r"groups was expected to name the subject .* 4 of 12 names are missing, .* 0"):
        FlowExpressionClassifier().fit(images(), Y, groups=groups)


@pytest.mark.usefixtures("no_training")
def test_missing_labels_in_a_list_are_no_class():
    with pytest.raises(ValueError, match="4 of 12 labels are missing, such as that of row 2"):
        FlowExpressionClassifier().fit(images(), ["anger", "fear", float("nan")] * 4)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("unit", ["M8[s]", "m8[ms]"])
def test_dates_are_told(unit):
    dates = np.arange(12).astype(unit)
    told = r"to hold numbers, but holds dates or durations .*Pass seconds since"
    with pytest.raises(ValueError, match=told):
        FlowExpressionClassifier().fit(dates[:, None], Y)
    frame = pytest.importorskip("pandas").DataFrame({"n": np.arange(12), "when": dates})
    with pytest.raises(ValueError, match=told):
        FlowExpressionClassifier().fit(frame, Y)


def test_nan_in_images_is_told_where_scikit_learn_lets_it_pass():
    holed = images().astype(float)
    holed[0, 0, 0] = np.nan
    with sklearn.config_context(assume_finite=True), pytest.raises(ValueError, match="but X runs from nan to nan"):
        FlowExpressionClassifier().fit(holed, Y)


def test_masked_labels_are_told():
    masked = np.ma.MaskedArray(Y, mask=Y == 2)
    with pytest.raises(ValueError, match=r"4 of 12 labels are masked.* X\[~y\.mask\], y\.compressed\(\)"):
        FlowExpressionClassifier().fit(images(), masked)


def test_unlabeled_marks_labels_of_its_own_kind_alone(tiny):
    X, fitted = np.random.default_rng(0).normal(size=(12, 2)), tiny(max_steps=1)
    assert fitted.set_params(unlabeled=False).fit(X, Y).classes_.tolist() == [0, 1, 2]
    assert fitted.set_params(unlabeled=True).fit(X, Y).classes_.tolist() == [0, 1, 2]
    assert fitted.set_params(unlabeled=-1).fit(X, ["a", "b", -1] * 4).classes_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="unlabeled='2' is a string, but the labels are numbers\\. Pass unlabeled=2"):
        fitted.set_params(unlabeled="2").fit(X, Y)
    with pytest.raises(ValueError, match="every label equals unlabeled=-1"):
        fitted.set_params(unlabeled=-1).fit(X, Y).score(X, Y * 0 - 1)


def test_labels_that_are_objects_may_be_numbers(tiny):
    X = np.random.default_rng(0).normal(size=(12, 2))
    assert tiny(max_steps=1).fit(X, Y.astype(object)).classes_.dtype == int
    assert tiny(max_steps=1).fit(X, (Y > 0).astype(object)).classes_.dtype == bool


GIVEN = {
    "images of two sizes": ([*images(11), np.zeros((8, 8))], r"samples of one shape, .* holds 2: \(8, 8\), \(16, 16\)"),
    "paths": (["a.png"] * 12, r"is the path 'a.png' and others\. Read images with flowexpr.datasets.load_faces"),
    "nothing": (None, "X was expected to be an array, but is None"),
    "channels first": (images(shape=(3, 16, 16)), r"whose channels come first\. Pass np\.moveaxis\(X, 1, -1\)"),
}


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.usefixtures("no_training")
def test_what_is_no_array_of_samples_is_told(name):
    X, message = GIVEN[name]
    with pytest.raises(ValueError, match=message):
        FlowExpressionClassifier().fit(X, Y)


def test_images_in_lists_columns_and_tensors_are_arrays():
    column = np.empty(2, dtype=object)
    column[:] = list(images(2))
    for X in (list(images(2)), column, torch.from_numpy(images(2)).float().requires_grad_()):
        np.testing.assert_array_equal(as_array(X), images(2))


def test_masks_are_no_dark_images(tiny):
    X = images() > 128
    of_bytes, of_fractions = (tiny(max_steps=1).fit(data, Y) for data in (images(), X))
    with pytest.raises(ValueError, match=r"fitted on images within 0\.\.255, but X runs from 0 to 1"):
        of_bytes.predict(X)
    with pytest.warns(UserWarning, match="the numbers 0 and 1 as uint8 are taken as nearly black"):
        of_fractions.predict(X.astype(np.uint8))


def test_white_of_signed_bytes_is_white(tiny):
    clf = tiny(max_steps=1).fit((images() // 2).astype(np.int8), Y)
    X, _ = clf.sample(20, random_state=0)
    assert X.dtype == np.uint8
    assert X.max() > 127
    clf.predict(X)


@pytest.mark.usefixtures("no_training")
def test_class_weights_of_no_class_are_told():
    with pytest.raises(ValueError, match=r"class_weight names 'joy', which is no class\. The classes are \[0, 1, 2\]"):
        FlowExpressionClassifier(class_weight={"joy": 2.0}).fit(images(), Y)


def test_a_refused_fit_leaves_the_earlier_one(tiny, same_weights, draw_images):
    X, y = draw_images()
    clf = tiny(warm_start=True).fit(X, y)
    before = copy.deepcopy(clf)
    for wrong, data in (({}, X[:, :8, :8]), ({}, X[:, :15]), ({"n_flows": 2}, X), ({"unlabeled": -1}, X - np.nan)):
        with pytest.raises(ValueError):  # noqa: PT011
            clf.set_params(**wrong).fit(data, y)
        clf.set_params(n_flows=1, unlabeled=None)
        np.testing.assert_array_equal(clf.predict_proba(X), before.predict_proba(X))
    assert same_weights(clf.fit(X, y), before.fit(X, y))  # goes on from it


def test_architecture_of_a_warm_start_is_checked_before_it_calibrates(tiny, draw_images, monkeypatch):
    X, y = draw_images()
    clf = tiny(warm_start=True, calibrate="temperature").fit(X, y, groups=np.arange(24) // 3)
    monkeypatch.setattr(Trainer, "run", lambda self: pytest.fail("training began"))
    with pytest.raises(ValueError, match="of another architecture"):
        clf.set_params(n_flows=2).fit(X, y, groups=np.arange(24) // 3)


def test_a_warm_start_of_vectors_trains_on_the_scale_of_its_weights(tiny, two_features, monkeypatch):
    X, y = two_features
    clf = tiny(warm_start=True).fit(X, y)
    seen = []
    monkeypatch.setattr(Trainer, "run", lambda self: seen.append(self.data.signal))
    clf.fit(X + 5, y)
    assert seen[0].mean == clf.signal_.mean != tuple((X + 5).mean(0))


def test_a_part_of_a_memory_map_that_is_read_whole_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "CHUNK_BYTES", 1000)
    np.save(tmp_path / "X.npy", images())
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(as_rows(X), X)
    with pytest.warns(UserWarning, match="X is a part of a memory map, or one in another order, and is read into mem"):
        np.testing.assert_array_equal(as_rows(X[:, 2:14, 2:14]), images()[:, 2:14, 2:14].reshape(12, -1))


@pytest.mark.usefixtures("no_training")
def test_missing_names_of_a_tensor_are_told():
    """A tensor with a gradient, which numpy refuses as it refuses one on a GPU."""
    groups = torch.tensor(np.where(Y == 0, np.nan, Y), requires_grad=True)
    with pytest.raises(ValueError, match="4 of 12 names are missing, such as that of row 0"):
        FlowExpressionClassifier().fit(images(), Y, groups=groups)


def test_strings_of_numpy_and_of_python_are_of_one_kind(tiny):
    groups = np.array([np.str_("anne") if y else "bo" for y in Y], dtype=object)
    assert tiny(max_steps=1).fit(images(), Y, groups=groups).n_steps_ == 1


def test_bfloat16_of_other_libraries_is_left_to_numpy():
    class Foreign:  # as of JAX
        dtype = "bfloat16"
        shape, ndim = (2, 3), 2

        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 3), np.float32)

    np.testing.assert_array_equal(as_array(Foreign()), np.ones((2, 3)))
