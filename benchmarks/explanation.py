"""Explanations, measured: whether maps show what moved and what decides, and whether counterfactuals are honest.

    python benchmarks/explanation.py --models DIR [CK+48:ck+48 jaffe:jaffe] [--faces 32]

Drawn faces come with the pixels that their action units move, which the maps are held against: in the pointing game
the largest value of a map has to lie there ("within a pixel": or a pixel beside it; the game is mostly played with a
margin, 15 pixels of images some 500 wide in https://arxiv.org/abs/1608.00507). The question is the same for all maps:
the evidence for the expression shown against a face at rest. Maps made pixel by pixel (integrated gradients, gradient x
input, LRP) are smoothed as that of `explain` is. Faces are of people whom no model saw, and of expressions that flow
and CNN both name. On folders (FOLDER:LAYOUT, as in setting.py) there are no such pixels, and no faces at rest: the
question is the expression against the runner-up, on the first of five folds by subject.

Models are kept in DIR, so that a second run only measures. What explanations cost is measured on one thread, with each
flow on some of the faces.
"""

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import reporting
import torch
from morph import Faces, drawn, fit_recogniser, kept
from saliency import grad_cam, layerwise_relevance, lime
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.stats import spearmanr
from setting import read
from sklearn.model_selection import GroupKFold

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier, pca_lda
from flowexpr.datasets import make_faces
from flowexpr.explain import attribute, encode_reference
from flowexpr.explain.pixel_map import smooth

N_CHECKED = 8
"""Faces on which weights are randomised and images shifted."""
SHARES = np.linspace(0, 1, 11)
"""Shares of the pixels that are deleted or inserted."""
BLUR = 1 / 8
"""Standard deviation of the blur that replaces pixels, as a share of the side."""
CONFIDENCE = 0.9
N_PEOPLE, N_PEOPLE_OF_CNN = 80, 80
"""Drawn people that the flow and the CNN it is compared with are trained on; the page says how accurate they are."""
N_TIMED = 8
"""Faces whose explanations are timed, one by one and together."""

Maps = Callable[[Any, np.ndarray, np.ndarray, Any], np.ndarray]
"""Of a model, images, the labels explained and what they are compared with."""


def from_neutral(flow: Any, X: np.ndarray, y: np.ndarray, against: Any) -> np.ndarray:
    """Return the flow's own maps, from a neutral version of each face."""
    explained = flow.explain(X, against, label=y, counterfactual=False)
    return np.stack([one.pixel_map for one in explained])


def by_captum(method: str) -> Maps:
    """Return what makes maps by one of the usual methods."""
    return lambda model, X, y, against: attribute(model, X, method, label=y, against=against)


def smoothed(maps: Maps) -> Maps:
    """Return what makes the same maps, smoothed as those of `explain` are."""
    return lambda model, X, y, against: smooth(maps(model, X, y, against))


METHODS: dict[str, tuple[str, Maps]] = {
    "flow: from a neutral version (`explain`)": ("flow", from_neutral),
    "flow: occlusion": ("flow", by_captum("occlusion")),
    "flow: gradient x input": ("flow", smoothed(by_captum("gradient_x_input"))),
    "flow: integrated gradients from black": ("flow", smoothed(by_captum("integrated_gradients"))),
    "CNN: Grad-CAM": ("CNN", grad_cam),
    "CNN: integrated gradients from black": ("CNN", smoothed(by_captum("integrated_gradients"))),
    "CNN: occlusion": ("CNN", by_captum("occlusion")),
    "CNN: LIME": ("CNN", lime),
    "CNN: LRP": ("CNN", smoothed(layerwise_relevance)),
}


def main() -> None:
    """Measure drawn faces and every folder; write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="FOLDER:LAYOUT")
    parser.add_argument("--models", type=Path, required=True, help="where trained models are kept")
    parser.add_argument("--faces", type=int, default=32, help="faces that maps are measured on")
    options = parser.parse_args()
    options.models.mkdir(parents=True, exist_ok=True)
    parts = [measure_drawn(options.models, options.faces)]
    reporting.write("explanation", "\n\n".join(parts))
    for argument in options.data:
        parts.append(measure_folder(options.models, argument, options.faces))
        reporting.write("explanation", "\n\n".join(parts))


def measure_time(flow: Any, faces: Faces) -> str:
    """Measure what explanations of a model cost on one thread."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        reference = encode_reference(flow, faces.images, faces.y)
        asked: dict[str, dict[str, Any]] = {
            "likelihoods, evidence and neighbours": {
                "pixel_map": False,
                "counterfactual": False,
                "reference": reference,
            },
            "and the map with its regions": {"counterfactual": False, "reference": reference},
            "and the counterfactual": {"reference": reference},
        }
        rows = []
        few = faces.images[:: max(1, len(faces.images) // N_TIMED)][:N_TIMED]
        for name, how in asked.items():
            alone = [_seconds(flow, image[None], how) for image in few]
            rows.append(
                [name, f"{np.median(alone):.2f}", f"{max(alone):.2f}", f"{_seconds(flow, few, how) / N_TIMED:.2f}"]
            )
    finally:
        torch.set_num_threads(n_threads)
    height, width = faces.images.shape[1:3]
    header = ["seconds a face", f"alone, median of {N_TIMED}", "the longest", f"each of {N_TIMED} together"]
    return f"One thread, images of {height} x {width}.\n\n{reporting.table(header, rows)}"


def _seconds(flow: Any, X: np.ndarray, how: dict[str, Any]) -> float:
    began = time.perf_counter()
    flow.explain(X, **how)
    return time.perf_counter() - began


def on_cpu(*models: Any) -> None:
    """Compute on the processor from here on, whose seconds the tables hold and where the other maps are made."""
    for model in models:
        model.set_params(device="cpu")


def measure_drawn(models: Path, n: int) -> str:
    """Measure maps and counterfactuals on drawn people that no model and no choice has seen."""
    training = drawn(N_PEOPLE, n_clips=2, seed=0)
    flow = kept(
        models / "explained.flowexpr",
        lambda: FlowExpressionClassifier(random_state=0).fit(training.images, training.y),
    )
    more = drawn(N_PEOPLE_OF_CNN, n_clips=2, seed=1)
    cnn = kept(models / "cnn.joblib", lambda: CNNExpressionClassifier(random_state=0).fit(more.images, more.y))
    on_cpu(flow, cnn)
    judge = kept(models / "recogniser.joblib", lambda: fit_recogniser(drawn(200, n_clips=2, seed=1)))
    made = make_faces(20, neutral=True, image_size=32, return_masks=True, random_state=7)
    people = Faces(made.images, made.target_names[made.target], made.subject, made.clip)
    chosen = choose(people, {"flow": flow, "CNN": cnn}, n, (people.y != "neutral") & made.action_unit_mask.any((1, 2)))
    mask, unseen = made.action_unit_mask[chosen], people[chosen]
    rows = [
        map_row(name, {"flow": flow, "CNN": cnn}[kind], maps, unseen, "neutral", mask)
        for name, (kind, maps) in METHODS.items()
    ]
    rows += chance_rows({"flow": flow, "CNN": cnn}, unseen, mask)
    first = people.clip % 2 == 0
    person = pca_lda(random_state=0).fit(people.images[~first], people.subject[~first])
    start = people[np.flatnonzero(first & (people.y != "neutral"))[:: max(1, int(sum(first) / n))]]
    scores = [f"{name} {model.score(people.images, people.y):.1%}" for name, model in (("flow", flow), ("CNN", cnn))]
    return (
        f"Drawn people, 20 new ones. Accuracy: {', '.join(scores)}, the judge of counterfactuals "
        f"{judge.score(people.images, people.y):.1%}. {len(unseen.y)} faces; the mask covers {mask.mean():.1%} of "
        "them. Gradients x input, integrated gradients and LRP are smoothed as the map of `explain` is."
        f"\n\n{reporting.table(MAP_HEADER, rows)}\n\n"
        f"{reporting.table(COUNTERFACTUAL_HEADER, counterfactual_rows(flow, judge, person, start, people))}\n\n"
        f"{measure_time(flow, unseen)}"
    )


def measure_folder(models: Path, argument: str, n: int) -> str:
    """Measure deletion, insertion and counterfactuals on the test people of a folder's first fold."""
    name, loaded = read(argument)
    clip = np.arange(len(loaded.images)) if loaded.clip is None else loaded.clip
    faces = Faces(loaded.images, loaded.target_names[loaded.target], loaded.subject, clip)
    train, test = next(GroupKFold(5).split(faces.images, faces.y, faces.subject))
    training, people = faces[train], faces[test]
    flow = kept(
        models / f"{name}.flowexpr",
        lambda: FlowExpressionClassifier(random_state=0).fit(training.images, training.y, groups=training.subject),
    )
    cnn = kept(
        models / f"{name}.joblib", lambda: CNNExpressionClassifier(random_state=1).fit(training.images, training.y)
    )
    on_cpu(flow, cnn)
    fitted = {"flow": flow, "CNN": cnn}
    unseen = people[choose(people, fitted, n, np.ones(len(people.y), dtype=bool))]
    rows = [map_row(key, fitted[kind], maps, unseen, None, None) for key, (kind, maps) in METHODS.items()]
    rows = [[row[0], *row[4:]] for row in rows + chance_rows(fitted, unseen, None)]
    person = pca_lda(random_state=0).fit(people.images, people.subject)
    start = people[np.random.default_rng(1).permutation(len(people.y))[:n]]
    scores = [f"{kind} {model.score(people.images, people.y):.1%}" for kind, model in fitted.items()]
    return (
        f"{name}, first fold by subject: {', '.join(scores)}; {len(unseen.y)} faces. The subject classifier has "
        f"seen the faces that counterfactuals start from.\n\n"
        f"{reporting.table([MAP_HEADER[0], *MAP_HEADER[4:]], rows)}\n\n"
        f"{reporting.table(COUNTERFACTUAL_HEADER, counterfactual_rows(flow, cnn, person, start, people))}\n\n"
        f"{measure_time(flow, unseen)}"
    )


def choose(people: Faces, models: dict[str, Any], n: int, allowed: np.ndarray) -> np.ndarray:
    """Return n rows at random that every model names right."""
    for model in models.values():
        allowed = allowed & (model.predict(people.images) == people.y)
    return np.sort(np.random.default_rng(0).permutation(np.flatnonzero(allowed))[:n])


MAP_HEADER = [
    "map",
    "pointing game",
    "within a pixel",
    "inside the mask",
    "deletion (lower)",
    "insertion (higher)",
    "random weights, size of the rank correlation (lower)",
    "one pixel shifted (higher)",
    "s a face",
]


def map_row(name: str, model: Any, maps: Maps, unseen: Faces, against: Any, mask: np.ndarray | None) -> list[Any]:
    """Return a row of the table of maps: what the masks say, the curves, and two checks on the first faces."""
    print(name, flush=True)
    began = time.perf_counter()
    found = maps(model, unseen.images, unseen.y, against)
    seconds = (time.perf_counter() - began) / len(found)
    few = unseen[:N_CHECKED]
    other = maps(with_random_top(model), few.images, few.y, against)
    shifted = np.roll(maps(model, shift(few.images), few.y, against), -1, axis=2)
    by_mask = ["", "", ""] if mask is None else _by_mask(found, mask)
    checks = _checks(found[:N_CHECKED], other, shifted)
    return [name, *by_mask, *curves(model, unseen, found), *checks, f"{seconds:.2f}"]


def chance_rows(models: dict[str, Any], unseen: Faces, mask: np.ndarray | None) -> list[list[Any]]:
    """Return a row of the table of maps for maps at random, for every model; other weights give others."""
    random = np.random.default_rng(0)
    found = random.random(unseen.images.shape[:3])
    by_mask = ["", "", ""] if mask is None else _by_mask(found, mask)
    checks = _checks(found[:N_CHECKED], *random.random((2, *found[:N_CHECKED].shape)))
    return [[f"{kind}: chance", *by_mask, *curves(model, unseen, found), *checks, ""] for kind, model in models.items()]


def _by_mask(maps: np.ndarray, mask: np.ndarray) -> list[str]:
    return [f"{share:.2f}" for share in (pointing(maps, mask), pointing(maps, mask, near=True), inside(maps, mask))]


def _checks(maps: np.ndarray, of_random_weights: np.ndarray, shifted: np.ndarray) -> list[str]:
    """Return the size of the agreement with the maps of random weights, and the agreement with shifted maps."""
    means = (np.nanmean(np.abs(agreement(maps, of_random_weights))), np.nanmean(agreement(maps, shifted)))
    return [f"{mean:z.2f}" for mean in means]


def pointing(maps: np.ndarray, mask: np.ndarray, *, near: bool = False) -> float:
    """Return how often the largest value lies in the mask, or in it or at most a pixel beside it."""
    if near:
        mask = binary_dilation(mask, np.ones((1, 3, 3), dtype=bool))
    top = maps.reshape(len(maps), -1).argmax(1)
    return float(mask.reshape(len(mask), -1)[np.arange(len(mask)), top].mean())


def inside(maps: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of the positive values that lies in the mask, mean over faces."""
    positive = maps.clip(min=0)
    return float(((positive * mask).sum((1, 2)) / positive.sum((1, 2)).clip(min=1e-12)).mean())


def curves(model: Any, unseen: Faces, maps: np.ndarray) -> list[str]:
    """Return the areas under the curves of the label's probability, the first pixels of a map blurred, or given."""
    X = unseen.images.astype(np.float32)
    sigma = BLUR * min(X.shape[1:3])
    blurred = gaussian_filter(X, (0, sigma, sigma, 0))
    rank = (-maps).reshape(len(maps), -1).argsort(1).argsort(1).reshape(maps.shape) / maps[0].size
    columns = np.searchsorted(model.classes_, unseen.y)
    areas = []
    for kept_first, kept_last in ((blurred, X), (X, blurred)):
        probability = []
        for share in SHARES:
            mixed = np.where((rank < share)[..., None], kept_first, kept_last)
            rounded = np.rint(mixed).astype(unseen.images.dtype)
            probability.append(model.predict_proba(rounded)[np.arange(len(columns)), columns].mean())
        areas.append(f"{np.trapezoid(probability, SHARES):.2f}")
    return areas


def with_random_top(model: Any) -> Any:
    """Return a copy whose class-dependent part, h or the dense layers, has its weights shuffled."""
    other = copy.deepcopy(model)
    module = other.module_
    parts = [module.head] if hasattr(module, "head") else [module.features, module.logits]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in parts:
            for name, weight in part.named_parameters():
                if "conv1x1" not in name:  # a shuffled triangle would be no bijection that floats can undo
                    weight.copy_(weight.flatten()[torch.randperm(weight.numel(), generator=generator)].view_as(weight))
    return other


def shift(images: np.ndarray) -> np.ndarray:
    """Move images a pixel to the right; the left column stands twice."""
    return np.concatenate([images[:, :, :1], images[:, :, :-1]], axis=2)


def agreement(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the rank correlations (n,) of maps, their outermost columns left out; of flat maps there is none."""
    columns = slice(1, -1)
    return np.array(
        [
            spearmanr(one[:, columns], other[:, columns], axis=None).statistic
            for one, other in zip(maps, others, strict=True)
        ]
    )


COUNTERFACTUAL_HEADER = [
    "to the runner-up",
    "faces",
    "flips",
    f"p at least {CONFIDENCE}",
    "CNN names it",
    "log p(x) above the 5th percentile",
    "same person",
    "pixels moved",
    "s a face",
]


def counterfactual_rows(flow: Any, judge: Any, person: Any, start: Faces, people: Faces) -> list[list[Any]]:
    """Return a row for counterfactuals and one for morphs of strength 1 between the two class averages."""
    began = time.perf_counter()
    explained = flow.explain(start.images, pixel_map=False, confidence=CONFIDENCE)
    seconds = (time.perf_counter() - began) / len(explained)
    target = np.array([one.against for one in explained])
    label = np.array([one.label for one in explained])
    threshold = np.quantile(flow.score_samples(people.images), 0.05)
    columns = np.searchsorted(flow.classes_, target)
    quantised = np.stack([one.counterfactual.strip[0] for one in explained])
    rows = []
    for name, images, cost in (
        ("counterfactual", np.stack([one.counterfactual.image for one in explained]), f"{seconds:.2f}"),
        ("morph of strength 1", flow.morph(start.images, target, from_=label), ""),
    ):
        probability = flow.predict_proba(images)
        moved = (np.abs(images.astype(int) - quantised).max(3) > 8).mean((1, 2))
        shares = (
            probability.argmax(1) == columns,
            probability[np.arange(len(columns)), columns] >= CONFIDENCE - 1e-6,
            judge.predict(images) == target,
            flow.score_samples(images) > threshold,
            person.predict(images) == start.subject,
            moved,
        )
        rows.append([name, len(images), *(f"{share.mean():.0%}" for share in shares), cost])
    return rows


if __name__ == "__main__":
    main()
