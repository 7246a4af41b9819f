"""Exactness: what each precision changes of likelihoods, decisions, inverses and gradients, on trained models.

    python benchmarks/exactness.py [CK+48:ck+48 ...] [--steps 60]

A data set is FOLDER or FOLDER:LAYOUT as in setting.py; drawn faces are always measured. Two models a data set are
trained on some people, of 24 flows (3 blocks of 8) and of 128 (4 blocks of 32, the paper's depth), narrow so that this
takes minutes; everything is measured on the other people. "mixed" is what ``precision="auto"`` is where the hardware
multiplies bfloat16; elsewhere torch computes the same slowly, so it can be measured on any machine.
"""

import argparse
import copy
import time
from typing import NamedTuple

import numpy as np
import reporting
import setting
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit
from torch import Tensor

from flowexpr import FlowExpressionClassifier
from flowexpr.datasets import make_faces
from flowexpr.flows import FlowModel

MODELS = {
    "24 flows": {"n_blocks": 3, "n_flows": 8, "hidden_channels": 64},
    "128 flows": {"n_blocks": 4, "n_flows": 32, "hidden_channels": 32},
}
PRECISIONS = ("float32", "mixed")
N_OF_GRADIENT = 8
"""Images of the batch whose gradients are compared."""
BOUNDS = "The bounds: all inverted exactly, 0.01 bits/dim, 0.05 nats, 99.9 %."


class Faces(NamedTuple):
    """A data set, parted into people to train on and people to measure on."""

    images: NDArray[np.uint8]
    target: NDArray[np.int64]
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def part(images: NDArray[np.uint8], target: NDArray[np.int64], subject: NDArray[np.str_]) -> Faces:
    """Hold out a quarter of the people."""
    train, test = next(GroupShuffleSplit(1, test_size=0.25, random_state=0).split(images, target, subject))
    return Faces(images, target, train, test)


def in_precision(clf: FlowExpressionClassifier, precision: str) -> FlowExpressionClassifier:
    """Return a copy of a fitted classifier that computes in another precision."""
    other = copy.deepcopy(clf)
    other.module_.set_mixed_precision(precision == "mixed")
    other.module_.to(torch.float64 if precision == "float64" else torch.float32)
    return other


def latents_and_table(clf: FlowExpressionClassifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return z1 of a batch, and log p(z1 | y = i) of every class, nats."""
    dtype = next(clf.module_.parameters()).dtype
    z1 = clf.module_.backbone(x.to(dtype)).z[0]
    return z1, clf.module_.head.log_prob_of_all_classes(z1)


@torch.no_grad()
def worst_difference(clf: FlowExpressionClassifier, exact: FlowExpressionClassifier, X: NDArray[np.uint8]) -> float:
    """Return how far log p(x|i) - log p(x|j) is from float64's, given the same z1, at most; nats."""
    worst = 0.0
    for start in range(0, len(X), 32):
        z1, table = latents_and_table(
            clf, clf.signal_.to_model(X[start : start + 32].reshape(len(X[start : start + 32]), -1))
        )
        error = table.double() - exact.module_.head.log_prob_of_all_classes(z1.double())
        worst = max(worst, float((error.amax(1) - error.amin(1)).max()))
    return worst


def gradients(model: FlowModel, x: Tensor, *, memory: str) -> Tensor:
    """Return the gradient of the mean log-likelihood at every parameter, as one float64 vector."""
    model.zero_grad()
    model.set_reversible(memory == "reversible")
    log_prob = model(x)
    (log_prob.shared + log_prob.by_class.logsumexp(1)).mean().backward()
    return torch.cat([p.grad.double().flatten() for p in model.parameters()])


def distance(found: Tensor, expected: Tensor) -> float:
    """Return the relative distance of two vectors."""
    return float((found - expected).norm() / expected.norm())


def measure(clf: FlowExpressionClassifier, X: NDArray[np.uint8]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the rows of both tables for a fitted classifier, a row per precision."""
    n_dims = X[0].size
    exact = in_precision(clf, "float64")
    log_p, batch = exact.score_samples(X), X[:N_OF_GRADIENT].reshape(N_OF_GRADIENT, -1)
    float32 = in_precision(clf, "float32")
    labels = float32.predict(X)
    quantised = X >> (8 - clf.n_bits) << (8 - clf.n_bits)
    x = clf.signal_.to_model(batch)
    expected = gradients(exact.module_, x.double(), memory="store")
    rows, gradient_rows = [], []
    for precision in PRECISIONS:
        began = time.perf_counter()
        other = in_precision(clf, precision)
        latents = other.encode(X)
        n_wrong = int((other.decode(latents) != quantised).any(axis=(1, 2, 3)).sum())
        error = np.abs(other.score_samples(X) - log_p) / (n_dims * np.log(2))
        agreement = np.mean(other.predict(X) == labels)
        figures = [f"{error.max():.1g}", f"{worst_difference(other, exact, X):.1g}", f"{100 * agreement:.2f}"]
        rows.append([precision, f"{n_wrong} of {len(X)}", latents.z1.dtype.name, *figures])
        by_memory = {memory: gradients(other.module_, x, memory=memory) for memory in ("store", "reversible")}
        apart = [distance(by_memory["reversible"], by_memory["store"])]
        apart += [distance(found, expected) for found in by_memory.values()]
        gradient_rows.append([precision, *(f"{value:.2g}" for value in apart)])
        print(rows[-1], gradient_rows[-1], f"{time.perf_counter() - began:.0f} s", flush=True)
    return rows, gradient_rows


def main() -> None:
    """Train, measure, and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="FOLDER[:LAYOUT]")
    parser.add_argument("--steps", type=int, default=60, help="of training, a model")
    options = parser.parse_args()
    drawn = make_faces(n_frames=2, image_size=32, random_state=0)
    data = {"drawn faces": part(drawn.images, drawn.target, drawn.subject)}
    for name, faces in setting.read_all(options.data):
        data[name] = part(faces.images, faces.target, faces.subject)
    rows, gradient_rows = [], []
    for name, faces in data.items():
        for model, size in MODELS.items():
            settings = size | {
                "head_hidden_channels": 64,
                "precision": "float32",
                "max_steps": options.steps,
                "device": "cpu",
            }
            clf = FlowExpressionClassifier(**settings, random_state=0)
            clf.fit(faces.images[faces.train], faces.target[faces.train])
            print(f"{name}, {model}: {clf.history_[-1]}", flush=True)
            of_model, of_gradients = measure(clf, faces.images[faces.test])
            rows += [[name, model, *row] for row in of_model]
            gradient_rows += [[name, model, *row] for row in of_gradients]
    header = [
        "",
        "",
        "precision",
        "not inverted exactly",
        "latents are",
        "log p, bits/dim",
        "class differences, nats",
        "same label, %",
    ]
    gradient_header = [
        "",
        "",
        "precision",
        "recomputed against stored",
        "stored against float64",
        "recomputed against float64",
    ]
    text = [
        f"Largest errors against float64 on people held out, models trained for {options.steps} steps. {BOUNDS}",
        reporting.table(header, rows),
        f"Gradients of {N_OF_GRADIENT} images, relative distance, activations stored or recomputed by inverting:",
        reporting.table(gradient_header, gradient_rows),
    ]
    reporting.write("exactness", "\n\n".join(text))


if __name__ == "__main__":
    main()
