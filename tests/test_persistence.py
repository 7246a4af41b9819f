"""Saving and loading: the same predictions, nothing pickled, damage told in clear words, no images inside."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open

import flowexpr
from flowexpr import FlowExpressionClassifier, ModelFileError
from flowexpr.persistence import FORMAT
from flowexpr.storage import read_tensors, write_tensors


@pytest.fixture
def saved(fitted_images, tmp_path):
    """Return the file of a saved classifier."""
    path = tmp_path / "model.safetensors"
    fitted_images.save(path)
    return path


def through_file(clf, folder):
    clf.save(folder / "model.safetensors")
    return flowexpr.load(folder / "model.safetensors")


def test_loaded_classifier_predicts_as_the_saved_one(fitted_images, saved, colour_images):
    X, _ = colour_images
    loaded = flowexpr.load(saved)
    assert isinstance(loaded, FlowExpressionClassifier)
    assert np.array_equal(loaded.predict(X), fitted_images.predict(X))
    assert np.array_equal(loaded.predict_proba(X), fitted_images.predict_proba(X))
    assert np.array_equal(loaded.transform(X), fitted_images.transform(X))
    assert np.array_equal(loaded.score_samples(X), fitted_images.score_samples(X))
    assert np.array_equal(loaded.morph(X, "joy"), fitted_images.morph(X, "joy"))
    assert np.array_equal(loaded.decode(loaded.encode(X)), fitted_images.decode(fitted_images.encode(X)))
    assert np.array_equal(loaded.sample(4, random_state=0)[0], fitted_images.sample(4, random_state=0)[0])


def test_loaded_classifier_has_the_parameters_and_attributes_of_the_saved_one(fitted_images, saved, same_weights):
    loaded = flowexpr.load(saved)
    assert loaded.get_params() == fitted_images.get_params() | {"device": "auto"}
    assert same_weights(loaded, fitted_images)
    for name, value in vars(fitted_images).items():
        if name in ("module_", "class_latents_", "typicality_reference_", "signal_", "device"):
            continue
        if isinstance(value, np.ndarray):
            assert np.array_equal(getattr(loaded, name), value), name
            assert getattr(loaded, name).dtype == value.dtype, name
        else:
            assert getattr(loaded, name) == value, name
            assert type(getattr(loaded, name)) is type(value), name
    assert loaded.signal_ == fitted_images.signal_
    assert all(np.array_equal(*p) for p in zip(loaded.class_latents_, fitted_images.class_latents_, strict=True))
    assert [list(row) for row in loaded.history_] == [list(row) for row in fitted_images.history_]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["anger", "Überraschung", "喜び"]),
        np.array(["anger", "fear", "joy"], dtype=object),
        np.array([3, -7, 11]),
        np.array([3, 7, 11], dtype=np.uint8),
        np.array([1.0, 2.0, 5.0]),
        np.array([False, True]),
    ],
    ids=["unicode", "object", "int", "uint8", "float", "bool"],
)
def test_labels_of_every_kind_come_back(labels, two_features, tiny, tmp_path):
    X, y = two_features
    clf = tiny(max_steps=2).fit(X, labels[y % len(labels)])
    loaded = through_file(clf, tmp_path)
    assert loaded.classes_.dtype == clf.classes_.dtype
    assert loaded.classes_.tolist() == clf.classes_.tolist()
    assert np.array_equal(loaded.predict(X), clf.predict(X))
    assert np.array_equal(loaded.encode(X, labels[0]).z1_prime, clf.encode(X, labels[0]).z1_prime)


def test_feature_names_come_back(two_features, tiny, tmp_path):
    pd = pytest.importorskip("pandas")
    X, y = two_features
    frame = pd.DataFrame(X, columns=["rate", "pressure"])
    clf = tiny(max_steps=2).fit(frame, y)
    loaded = through_file(clf, tmp_path)
    assert loaded.feature_names_in_.tolist() == ["rate", "pressure"]
    assert np.array_equal(loaded.predict(frame), clf.predict(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame[["pressure", "rate"]])


@pytest.mark.parametrize(
    "changes",
    [
        {"class_prior": np.array([0.5, 0.3, 0.2])},
        {"class_prior": [0.5, 0.3, 0.2]},
        {"class_weight": {0: 2.0, 1: 1, 2: 0.5}},
        {"class_weight": {np.int64(0): np.float64(2.0), np.int64(1): 1.0, np.int64(2): 1.0}},
        {"class_weight": "balanced", "class_prior": "uniform"},
        {"head": "gmm", "gmm_means": "learned"},
        {"head": "gmm", "precision": "float64"},
        {"validation_fraction": 0.2, "calibrate": "temperature"},
        {"random_state": np.random.RandomState(0)},
        {"random_state": None},
        {"checkpoint_dir": None, "n_flows": np.int64(2)},
    ],
    ids=lambda changes: "-".join(f"{name}={type(value).__name__}" for name, value in changes.items()),
)
def test_parameters_of_every_kind_come_back(changes, two_features, tiny, tmp_path):
    X, y = two_features
    clf = tiny(max_steps=2, **changes).fit(X, y)
    loaded = through_file(clf, tmp_path)
    assert np.array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    for name in changes.keys() - {"random_state"}:
        assert np.array_equal(getattr(loaded, name), changes[name])
    loaded.fit(X, y)  # the parameters are valid


def test_class_weight_of_string_labels_comes_back(colour_images, tiny, tmp_path):
    weight = {"anger": 2.0, "fear": 1.0, "joy": 0.5}
    clf = tiny(max_steps=2, class_weight=weight).fit(*colour_images)
    assert through_file(clf, tmp_path).class_weight == weight


def test_image_shape_comes_back_as_a_tuple(colour_images, tiny, tmp_path):
    X, y = colour_images
    clf = tiny(max_steps=2, image_shape=(16, 16, 3)).fit(X.reshape(24, -1), y)
    loaded = through_file(clf, tmp_path)
    assert loaded.image_shape == (16, 16, 3)
    assert loaded.image_shape_ == (16, 16, 3)
    assert loaded.decode(loaded.encode(X)).shape == (24, 768)


def test_callable_augment_is_left_out(colour_images, tiny, tmp_path):
    clf = tiny(max_steps=2, augment=lambda images, generator: images).fit(*colour_images)
    loaded = through_file(clf, tmp_path)
    assert loaded.augment is False
    assert np.array_equal(loaded.predict_proba(colour_images[0]), clf.predict_proba(colour_images[0]))


def test_float_images_come_back_in_their_range(colour_images, tiny, tmp_path):
    X = (colour_images[0] / 255).astype(np.float32)
    clf = tiny(max_steps=2).fit(X, colour_images[1])
    loaded = through_file(clf, tmp_path)
    decoded = loaded.decode(loaded.encode(X))
    assert decoded.dtype == np.float32
    assert loaded.input_range_ == (0, 1)
    assert np.array_equal(decoded, clf.decode(clf.encode(X)))


def test_loading_chooses_the_device_anew(saved):
    loaded = flowexpr.load(saved, device="cpu")
    assert loaded.device == "cpu"
    assert next(loaded.module_.parameters()).device.type == "cpu"


def test_warm_start_goes_on_from_a_loaded_classifier(saved, colour_images):
    loaded = flowexpr.load(saved).set_params(warm_start=True, max_steps=1)
    before = [p.clone() for p in loaded.module_.parameters()]
    loaded.fit(*colour_images)
    pairs = zip(before, loaded.module_.parameters(), strict=True)
    moved = max((a - b).abs().max().item() for a, b in pairs if a.numel())
    assert 0 < moved < 0.1


def test_unfitted_classifier_cannot_be_saved(tiny, tmp_path):
    with pytest.raises(ValueError, match="not fitted yet"):
        tiny().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_file_is_no_pickle(saved):
    with open(saved, "rb") as file, pytest.raises(pickle.UnpicklingError):
        pickle.load(file)


def test_loading_a_pickle_runs_nothing(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    for name, dump in (("pickle", pickle.dump), ("torch", torch.save)):
        path = tmp_path / name
        with open(path, "wb") as file:
            dump(Trap(), file)
        with pytest.raises(ModelFileError, match="is not a whole flowexpr file"):
            flowexpr.load(path)
    assert not (tmp_path / "sprung").exists()


def test_header_tells_version_classes_libraries_and_checksum(saved):
    with safe_open(saved, framework="np") as file:
        header = file.metadata()
    description = json.loads(header["description"])
    assert len(header["checksum"]) == 64
    assert description["format"] == FORMAT
    assert description["classes"]["values"] == ["anger", "fear", "joy"]
    assert {"python", "flowexpr", "torch", "numpy", "scikit-learn"} <= set(description["versions"])
    assert description["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a model file at .*nothing, found none"):
        flowexpr.load(tmp_path / "nothing")


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.1, 0.5, 0.999])
def test_truncated_file_is_an_error(share, saved):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match=r"is not a whole flowexpr file .* truncated .*Copy it again"):
        flowexpr.load(saved)


def test_lengthened_file_is_an_error(saved):
    saved.write_bytes(saved.read_bytes() + b"more")
    with pytest.raises(ModelFileError):
        flowexpr.load(saved)


def change_byte(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def header_length(path):
    return int.from_bytes(path.read_bytes()[:8], "little")


def test_changed_weight_is_an_error(saved):
    change_byte(saved, -1000)
    with pytest.raises(ModelFileError, match=r"does not match its checksum: it was changed after .*Copy it again"):
        flowexpr.load(saved)


def test_changed_description_is_an_error(saved):
    content = saved.read_bytes()
    assert content.count(b"anger") == 1
    saved.write_bytes(content.replace(b"anger", b"angel"))
    with pytest.raises(ModelFileError, match="does not match its checksum"):
        flowexpr.load(saved)


@pytest.mark.parametrize("part", ["header", "tensors"])
def test_no_changed_byte_goes_unnoticed(part, saved):
    whole = saved.read_bytes()
    begin = 8 + header_length(saved)
    places = range(0, begin, 23) if part == "header" else range(begin, len(whole), 997)
    for place in places:
        change_byte(saved, place)
        with pytest.raises(ModelFileError):
            flowexpr.load(saved)
        saved.write_bytes(whole)
    flowexpr.load(saved)


def test_newer_file_is_an_error(saved):
    tensors, description = read_tensors(saved)
    description["format"] = FORMAT + 1
    description["versions"]["flowexpr"] = "99.1"
    write_tensors(saved, tensors, description)
    expected = (
        rf"has format {FORMAT + 1}, written by flowexpr 99\.1, but this is flowexpr .*, "
        rf"which reads up to format {FORMAT}\. Install a newer flowexpr"
    )
    with pytest.raises(ModelFileError, match=expected):
        flowexpr.load(saved)


@pytest.mark.parametrize("description", [{"something": "else"}, [1, 2], "text", None])
def test_other_safetensors_file_is_an_error(description, tmp_path):
    write_tensors(tmp_path / "other", {"a": torch.zeros(3)}, description)
    with pytest.raises(ModelFileError, match=r"holds no flowexpr model\. Pass a file that `save` wrote"):
        flowexpr.load(tmp_path / "other")


def test_errors_of_files_are_value_errors_too():
    assert issubclass(ModelFileError, ValueError)


def test_a_folder_is_no_place_for_a_model(fitted_vectors, tmp_path):
    with pytest.raises(IsADirectoryError, match=r"was expected to be a file, but is a folder\. Pass a file in it"):
        fitted_vectors.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3.5),
        torch.tensor(True),
        torch.zeros(0, 4),
        torch.arange(6.0).view(2, 3).T,
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.arange(4, dtype=torch.float64),
    ],
    ids=["scalar", "bool", "empty", "transposed", "channels last", "float64"],
)
def test_tensors_of_every_kind_come_back(tensor, tmp_path):
    write_tensors(tmp_path / "file", {"a": tensor}, {"note": 1})
    tensors, description = read_tensors(tmp_path / "file")
    assert description == {"note": 1}
    assert tensors["a"].dtype == tensor.dtype
    assert torch.equal(tensors["a"], tensor)


def test_model_does_not_grow_with_the_data(draw_images, tiny):
    few, many = (tiny(max_steps=2).fit(*draw_images(n)) for n in (240, 2400))
    assert len(pickle.dumps(many)) < len(pickle.dumps(few)) + 2000


def test_model_holds_no_image(fitted_images, colour_images, saved):
    X, _ = colour_images
    whole = saved.read_bytes() + pickle.dumps(fitted_images)
    for image in X:
        row = image[3].tobytes()  # one row of pixels, 48 bytes
        assert row not in whole
        assert (image[3] / np.float32(255)).astype(np.float32).tobytes() not in whole


MEMORY = """
import sys, threading, time
import numpy as np
from flowexpr import FlowExpressionClassifier

def anonymous_megabytes():
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024

settings = dict(n_flows=1, hidden_channels=8, head_n_flows=1, head_hidden_channels=8, batch_size=16, max_steps=3)
settings |= dict(validation_fraction=0.01, random_state=0)
shape = (64, 64, 3)
n = 54_511
y = np.arange(n) % 6
if sys.argv[1] == "small":
    X, y = np.zeros((600, *shape), np.uint8), y[:600]
else:
    X = np.memmap(sys.argv[1], dtype=np.uint8, mode="r", shape=(n, *shape))
most = 0.0

def watch():
    global most
    while True:
        most = max(most, anonymous_megabytes())
        time.sleep(0.005)

threading.Thread(target=watch, daemon=True).start()
FlowExpressionClassifier(**settings).fit(X, y)
print(most)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux's /proc")
def test_memmap_of_the_papers_size_trains_in_little_memory(tmp_path):
    script, sparse = tmp_path / "fit.py", tmp_path / "faces.dat"
    script.write_text(MEMORY)
    with open(sparse, "wb") as file:
        file.truncate(54_511 * 64 * 64 * 3)
    sparse.chmod(0o400)

    def megabytes(source):
        command = [sys.executable, str(script), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    of_memmap, of_array = megabytes(sparse), megabytes("small")
    assert of_memmap - of_array < 300, (of_memmap, of_array)


def test_parameters_set_after_fit_do_not_change_the_saved_flow(tmp_path, tiny, two_features):
    X, y = two_features
    clf = tiny(n_flows=1, head="conditional").fit(X, y)
    expected = clf.predict_proba(X)
    clf.set_params(n_flows=3, head="gmm").save(tmp_path / "model")
    assert np.array_equal(flowexpr.load(tmp_path / "model").predict_proba(X), expected)


def test_saving_into_a_missing_folder_says_so(tmp_path, fitted_vectors):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere\. Make it first"):
        fitted_vectors.save(tmp_path / "nowhere" / "model")


@pytest.mark.parametrize("part", ["format", "versions", "parameters"])
def test_a_description_that_lacks_a_part_is_no_model(part, fitted_vectors, tmp_path):
    fitted_vectors.save(tmp_path / "model")
    tensors, description = read_tensors(tmp_path / "model")
    del description[part]
    write_tensors(tmp_path / "model", tensors, description)
    with pytest.raises(ModelFileError, match="holds no flowexpr model"):
        flowexpr.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["log_prior", "class_latents.1", "typicality.centre"])
def test_arrays_that_are_missing_are_told(name, fitted_images, tmp_path):
    fitted_images.save(tmp_path / "model")
    tensors, description = read_tensors(tmp_path / "model")
    write_tensors(tmp_path / "model", {key: tensor for key, tensor in tensors.items() if key != name}, description)
    with pytest.raises(ModelFileError, match="lacks a part of a model"):
        flowexpr.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["face_frame_", "temperature_", "sample_shape_", "n_steps_"])
def test_attributes_that_are_missing_are_told(name, fitted_images, tmp_path):
    fitted_images.save(tmp_path / "model")
    tensors, description = read_tensors(tmp_path / "model")
    del description["fitted"][name]
    write_tensors(tmp_path / "model", tensors, description)
    with pytest.raises(ModelFileError, match=f"lacks a part of a model.*{name}"):
        flowexpr.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["extra", "class_latents.9", "module.extra"])
def test_tensors_that_nothing_knows_are_told(name, fitted_images, tmp_path):
    fitted_images.save(tmp_path / "model")
    tensors, description = read_tensors(tmp_path / "model")
    write_tensors(tmp_path / "model", tensors | {name: torch.zeros(2)}, description)
    with pytest.raises(ModelFileError, match=f"one that does not fit.*{name.removeprefix('module.')}"):
        flowexpr.load(tmp_path / "model")


def test_a_file_of_an_unknown_estimator_is_told(fitted_vectors, tmp_path):
    fitted_vectors.save(tmp_path / "model")
    tensors, description = read_tensors(tmp_path / "model")
    write_tensors(tmp_path / "model", tensors, description | {"estimator": "Other"})
    with pytest.raises(ModelFileError, match=r"estimator or parameters this one does not know \('Other'\)"):
        flowexpr.load(tmp_path / "model")


@pytest.mark.parametrize("change", ["left out", "of another shape", "of another width"])
def test_tensors_that_do_not_fit_are_told(change, fitted_vectors, tmp_path):
    fitted_vectors.save(tmp_path / "model")
    tensors, description = read_tensors(tmp_path / "model")
    name = next(name for name in tensors if name.startswith("module.") and tensors[name].ndim == 2)
    if change == "left out":
        del tensors[name]
    elif change == "of another shape":
        tensors[name] = tensors[name][:1]
    else:
        description["fitted"]["architecture_"]["hidden_channels"] += 1
    write_tensors(tmp_path / "model", tensors, description)
    with pytest.raises(ModelFileError, match=r"lacks a part of a model, or has one that does not fit \(\w"):
        flowexpr.load(tmp_path / "model")


def test_a_prior_that_is_a_series_is_kept(two_features, tiny, tmp_path):
    prior = pytest.importorskip("pandas").Series([0.5, 0.3, 0.2])
    tiny(class_prior=prior, max_steps=1).fit(*two_features).save(tmp_path / "model")
    assert flowexpr.load(tmp_path / "model").class_prior.tolist() == [0.5, 0.3, 0.2]


def test_labels_that_the_file_does_not_hold_are_told(two_features, tiny, tmp_path):
    X, y = two_features
    days = np.array(["2026-11-01", "2026-11-02", "2026-11-03"], dtype="datetime64[D]")[y]
    with pytest.raises(ValueError, match="labels were expected to be strings, numbers or booleans, but are datetime64"):
        tiny(max_steps=1).fit(X, days).save(tmp_path / "model")


def test_a_file_is_no_folder_of_checkpoints(two_features, tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"checkpoint_dir='.*file' was expected to be a folder"):
        tiny(checkpoint_dir=tmp_path / "file").fit(*two_features)
