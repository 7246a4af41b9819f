"""What a caller set of torch, and what no result depends on: TF32, a default device; and what a GPU would refuse."""

import gc
import threading
import weakref

import numpy as np
import pytest
import torch

import flowexpr
from flowexpr.arithmetic import own_arithmetic
from flowexpr.baselines import CNNExpressionClassifier, cnn
from flowexpr.training.loop import Trainer


def switches():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):
        return cudnn.conv.fp32_precision, matmul.fp32_precision
    return cudnn.allow_tf32, matmul.allow_tf32


@pytest.fixture
def with_cuda(monkeypatch):
    """Have it look as if torch was built for CUDA, whose switches can be set without."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)


@pytest.mark.usefixtures("with_cuda")
def test_tf32_is_off_inside_and_as_it_was_outside():
    before = switches()
    assert before[0] in ("tf32", True)  # torch's default, in convolutions
    with own_arithmetic():
        assert switches() in (("ieee", "ieee"), (False, False))
        with own_arithmetic():
            pass
        assert switches() in (("ieee", "ieee"), (False, False))
    assert switches() == before
    with pytest.raises(ZeroDivisionError), own_arithmetic():
        1 / 0  # noqa: B018
    assert switches() == before


@pytest.mark.usefixtures("with_cuda")
def test_tf32_stays_off_until_the_last_thread_is_done():
    before, begun, done = switches(), threading.Event(), threading.Event()

    def other():
        with own_arithmetic():
            begun.set()
            done.wait(10)

    thread = threading.Thread(target=other)
    with own_arithmetic():
        thread.start()
        begun.wait(10)
    assert switches() in (("ieee", "ieee"), (False, False))
    done.set()
    thread.join()
    assert switches() == before


@pytest.mark.parametrize("head", ["conditional", "gmm"])
def test_a_default_device_changes_nothing(head, colour_images, tiny, tmp_path):
    X, y = colour_images

    def everything():
        clf = tiny(head=head, max_steps=3, augment=True).fit(X, y)
        clf.save(tmp_path / "model")
        found = flowexpr.load(tmp_path / "model", device="cpu").explain(X[:1])[0]
        network = CNNExpressionClassifier(hidden_channels=4, max_steps=2, random_state=0, device="cpu").fit(X, y)
        return [
            clf.predict_proba(X),
            clf.sample(3, random_state=0)[0],
            clf.decode(clf.encode(X)),
            found.pixel_map,
            network.predict_proba(X),
        ]

    expected = everything()
    with torch.device("meta"):
        assert all(np.array_equal(*pair) for pair in zip(everything(), expected, strict=True))


def test_weights_are_drawn_before_they_move_to_a_device(colour_images, monkeypatch):
    drawn = []
    draw = cnn.draw_weights

    def recorded(network, generator):
        drawn.append({parameter.device.type for parameter in network.parameters()})
        draw(network, generator)

    def stop(self):
        raise RuntimeError("training began")

    monkeypatch.setattr(cnn, "draw_weights", recorded)
    monkeypatch.setattr(cnn, "resolve_device", lambda device: torch.device("meta"))
    monkeypatch.setattr(Trainer, "run", stop)
    clf = CNNExpressionClassifier(hidden_channels=4, max_steps=1, class_weight=None)
    with pytest.raises(RuntimeError, match="training began"):
        clf.fit(*colour_images)
    assert drawn == [{"cpu"}]
    assert {parameter.device.type for parameter in clf.module_.parameters()} == {"meta"}


def test_nothing_of_a_training_outlives_it(two_features, tiny, monkeypatch):
    trainers, run = [], Trainer.run

    def recorded(self):
        trainers.append(weakref.ref(self))
        run(self)

    monkeypatch.setattr(Trainer, "run", recorded)
    gc.collect()
    gc.disable()
    try:
        clf = tiny(max_steps=2, calibrate="temperature").fit(*two_features, groups=np.arange(60) // 3)
        assert clf.n_steps_ == 2
        assert [trainer() for trainer in trainers] == [None, None]
    finally:
        gc.enable()
