"""What the tests share: tiny drawn images, tiny settings, and classifiers that are fitted once a session."""

import os

# Before scikit-learn and SciPy are imported: some of scikit-learn's checks are skipped without it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pytest
import torch

from flowexpr import FlowExpressionClassifier
from flowexpr.training.loop import Trainer

TINY = {
    "n_flows": 1,
    "hidden_channels": 8,
    "head_n_flows": 1,
    "head_hidden_channels": 8,
    "n_bits": 5,
    "augment": False,
    "mirror_average": False,
    "label_smoothing": 0.0,
    "class_loss_weight": 1.0,
    "weight_averaging": 0.5,
    "weight_decay": 0.0,
    "schedule": "constant",
    "learning_rate": 1e-3,
    "batch_size": 16,
    "max_epochs": 3,
    "precision": "float32",
    "device": "cpu",
    "random_state": 0,
}
"""Settings that train in a tenth of a second, none left to a default that may be tuned."""


def _draw_images(n=24, shape=(16, 16), n_classes=3, seed=0):
    """Draw grey noise with a bright bar, whose row tells the class; returns uint8 images and class indices."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    X = random.integers(0, 120, (n, *shape), dtype=np.uint8)
    height = shape[0] // n_classes
    for image, label in zip(X, y, strict=True):
        image[label * height : label * height + max(1, height // 2)] += 130
    return X, y


@pytest.fixture(scope="session")
def draw_images():
    """Return the function that draws `n` images of a shape in `n_classes` classes."""
    return _draw_images


def _write_video(path, frames, fps=10, title=""):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        container.metadata["title"] = title
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def write_video():
    """Return the function that writes a video of frames (H, W, 3) to a path, and returns the path."""
    return _write_video


@pytest.fixture(scope="session")
def tiny():
    """Return a function that makes a tiny unfitted classifier, with some parameters changed."""
    return lambda **changes: FlowExpressionClassifier(**{**TINY, **changes})


@pytest.fixture(scope="session")
def colour_images():
    """Return 24 colour images (16, 16, 3), uint8, and their string labels; neither may be changed."""
    X, y = _draw_images(shape=(16, 16, 3))
    labels = np.array(["anger", "fear", "joy"])[y]
    X.setflags(write=False)
    labels.setflags(write=False)
    return X, labels


@pytest.fixture(scope="session")
def two_features():
    """Return 60 points with two features in three groups, and their labels; neither may be changed."""
    random = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = np.array([[0.0, 0.0], [30.0, 0.2], [0.0, 0.4]])[y] + random.normal(size=(60, 2)) * [5.0, 0.05]
    X.setflags(write=False)
    y.setflags(write=False)
    return X, y


@pytest.fixture(scope="session")
def fitted_images(colour_images, tiny):
    """Return a tiny classifier fitted on `colour_images`; shared, so not to be changed."""
    return tiny().fit(*colour_images)


@pytest.fixture(scope="session")
def fitted_vectors(two_features, tiny):
    """Return a tiny classifier fitted on `two_features`; shared, so not to be changed."""
    return tiny(n_flows=2, max_epochs=10).fit(*two_features)


@pytest.fixture
def trainers(monkeypatch):
    """Return a list to which every training that begins adds its `Trainer`."""
    begun, run = [], Trainer.run

    def recording(self):
        begun.append(self)
        run(self)

    monkeypatch.setattr(Trainer, "run", recording)
    return begun


@pytest.fixture(scope="session")
def same_weights():
    """Return a function that tells whether two classifiers hold the same weights, bit for bit."""

    def same(a, b):
        mine, other = a.module_.state_dict(), b.module_.state_dict()
        return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)

    return same


@pytest.fixture(scope="session")
def without_seconds():
    """Return a function that takes the time out of a history."""
    return lambda history: [{name: v for name, v in row.items() if name != "seconds"} for row in history]
