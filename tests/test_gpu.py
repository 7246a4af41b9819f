"""On a CUDA GPU: the same code, numbers close to the CPU's, and models that move from one to the other."""

import pickle

import numpy as np
import pytest
import torch

import flowexpr
from flowexpr.baselines import CNNExpressionClassifier
from flowexpr.explain import attribute
from flowexpr.training.loop import Trainer

DEVICE = "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU"),
]


@pytest.fixture(scope="module")
def images(colour_images):
    return np.array(colour_images[0]), np.array(colour_images[1])


@pytest.fixture(scope="module", params=["conditional", "gmm"])
def fitted(request, images, tiny):
    return tiny(head=request.param, device=DEVICE).fit(*images)


def test_it_is_chosen_where_there_is_one(images, tiny):
    assert next(tiny(device="auto", max_steps=1).fit(*images).module_.parameters()).device.type == DEVICE


def test_training_makes_the_weights_of_the_cpu(images, tiny):
    on_gpu, on_cpu = (tiny(device=device, max_steps=3, augment=True).fit(*images) for device in (DEVICE, "cpu"))
    for a, b in zip(on_gpu.module_.state_dict().values(), on_cpu.module_.state_dict().values(), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("memory", ["store", "reversible"])
@pytest.mark.parametrize("precision", ["auto", "float32", "float64", "mixed"])
def test_every_precision_and_memory_trains(images, tiny, memory, precision):
    clf = tiny(device=DEVICE, memory=memory, precision=precision).fit(*images)
    assert clf.score(*images) > 0.5


def test_predictions_are_those_of_the_cpu(fitted, images):
    on_cpu = pickle.loads(pickle.dumps(fitted)).set_params(device="cpu")
    X = images[0]
    np.testing.assert_allclose(fitted.predict_proba(X), on_cpu.predict_proba(X), atol=1e-3)
    np.testing.assert_allclose(fitted.score_samples(X), on_cpu.score_samples(X), rtol=1e-4)
    np.testing.assert_allclose(fitted.transform(X), on_cpu.transform(X), atol=1e-2)
    np.testing.assert_allclose(fitted.typicality(X), on_cpu.typicality(X), atol=0.05)


def test_images_come_back_from_their_latents(fitted, images):
    np.testing.assert_array_equal(fitted.decode(fitted.encode(images[0])), images[0] >> 3 << 3)


def test_new_images_and_morphs(fitted, images):
    X, y = images
    assert fitted.sample(3, random_state=0)[0].shape == (3, 16, 16, 3)
    assert fitted.morph(X[:2], to=y[1]).shape == (2, 16, 16, 3)


def test_explanations_are_complete(fitted, images):
    for one in fitted.explain(images[0][:3]):
        assert one.pixel_map.sum() == pytest.approx(one.evidence - one.baseline_evidence, rel=1e-3, abs=1e-4)


def test_tensors_on_it_are_taken(images, tiny):
    X, y = images
    on_gpu = torch.from_numpy(X).to(DEVICE)
    codes = torch.from_numpy(np.unique(y, return_inverse=True)[1]).to(DEVICE)
    clf = tiny(device=DEVICE, max_steps=1).fit(on_gpu, codes, groups=codes)
    np.testing.assert_array_equal(clf.predict_proba(on_gpu), clf.predict_proba(X))


def test_a_file_loads_on_either(fitted, images, tmp_path):
    fitted.save(tmp_path / "model")
    for device in ("cpu", DEVICE):
        loaded = flowexpr.load(tmp_path / "model", device=device)
        np.testing.assert_allclose(loaded.predict_proba(images[0]), fitted.predict_proba(images[0]), atol=1e-3)


def test_a_killed_training_goes_on(images, tiny, tmp_path, monkeypatch):
    whole = tiny(device=DEVICE, max_epochs=4).fit(*images)
    train, steps = Trainer._train_step, []

    def killed(*arguments):
        steps.append(arguments)
        if len(steps) == 3:
            raise SystemExit
        train(*arguments)

    monkeypatch.setattr("flowexpr.training.checkpoint.SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr("flowexpr.training.checkpoint.LARGEST_SHARE", 1e9)
    monkeypatch.setattr(Trainer, "_train_step", killed)
    with pytest.raises(SystemExit):
        tiny(device=DEVICE, max_epochs=4, checkpoint_dir=tmp_path).fit(*images)
    monkeypatch.setattr(Trainer, "_train_step", train)
    resumed = tiny(device=DEVICE, max_epochs=4, checkpoint_dir=tmp_path).fit(*images)
    np.testing.assert_allclose(resumed.predict_proba(images[0]), whole.predict_proba(images[0]), atol=1e-3)


def test_a_network_that_was_pickled_is_explained(images):
    pytest.importorskip("captum")
    settings = {"hidden_channels": 4, "n_features": 8, "max_epochs": 1, "device": DEVICE, "random_state": 0}
    cnn = CNNExpressionClassifier(**settings).fit(*images)
    copied = pickle.loads(pickle.dumps(cnn))
    copied.predict(images[0])
    for method in ("gradient_x_input", "occlusion"):
        assert attribute(copied, images[0][:2], method).shape == (2, 16, 16)
