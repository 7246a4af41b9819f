"""The paper's Table I and its Figures 2 and 3 as numbers, for drawn faces or a folder of images.

    python benchmarks/latent_space.py --keep DIR [CK+48:ck+48] [--page NAME] [--jobs 2]

A data set is FOLDER or FOLDER:LAYOUT, as in setting.py; without one, 29 people are drawn.
Accuracies, the tables of trees on t-SNE maps, and how latents cluster: on all images under a model of the last random
fold (subject-dependent, Figure 2), and on the people left out by the last fold by subject (Figure 3).
"""

import argparse

import numpy as np
import reporting
import setting
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier, pca_lda
from flowexpr.datasets import make_faces
from flowexpr.embedding import latents_of
from flowexpr.evaluation import EvaluationResult, cluster_scores, evaluate, latent_table


def main() -> None:
    """Evaluate, then print every table."""
    options = _options()
    faces = _faces(options)
    y = setting.labels(faces)
    epochs = {} if options.max_epochs is None else {"max_epochs": options.max_epochs}
    estimators: dict[str, BaseEstimator] = {
        "linear": pca_lda(random_state=0),
        "cnn": CNNExpressionClassifier(random_state=0, **epochs),
        "flow": FlowExpressionClassifier(random_state=0, **epochs),
    }
    result = evaluate(
        estimators,
        faces.images,
        y,
        subject=faces.subject,
        clip=faces.clip,
        protocols=("random", "subject"),
        n_splits=options.folds,
        n_jobs=options.jobs,
        checkpoint_dir=options.keep,
        progress=True,
        return_estimators=True,
    )
    trees = markdown(latent_table(result, faces.images, y).to_dict("records"))
    text = f"```text\n{result.to_text()}\n```\n\n{trees}\n\n{markdown(clusters(result, faces, y))}"
    reporting.write(options.page, text)


def clusters(result: EvaluationResult, faces: Bunch, y: np.ndarray) -> list[dict]:
    """Score the latents of every estimator, and the pixels."""
    rows = []
    for protocol, people in (("random", "known"), ("subject", "left out")):
        for name in ("flow", "cnn", "linear"):
            pooled = result.predictions[name, protocol]
            last = pooled.index[pooled.fold == pooled.fold.max()] if protocol == "subject" else np.arange(len(y))
            latents = {name: latents_of(result.estimators[name, protocol][-1], faces.images[last])}
            if name == "linear":
                latents["pixels"] = faces.images[last].reshape(len(last), -1)
            for kind, points in latents.items():
                found = cluster_scores(points, y[last], subject=faces.subject[last], clip=faces.clip[last])
                rows += [{"people": people, "latents": kind, **row} for row in found]
    return rows


def markdown(rows: list[dict]) -> str:
    """Return rows as a table; shares as they are, with three digits."""
    cells = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row.values()] for row in rows]
    return reporting.table(list(rows[0]), [["-" if cell in ("None", "nan") else cell for cell in row] for row in cells])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", metavar="FOLDER[:LAYOUT]", help="default: 29 drawn people")
    parser.add_argument("--keep", required=True, help="folder in which fits are kept, to go on from")
    parser.add_argument("--page", default="latent_space", help="name of the page that is written")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--max-epochs", type=int)
    return parser.parse_args()


def _faces(options: argparse.Namespace) -> Bunch:
    if options.data is None:
        return make_faces(image_size=32, random_state=0)
    _, faces = setting.read(options.data)
    if faces.clip is None:
        faces.clip = np.arange(len(faces.target))  # every image a recording of its own
    return faces


if __name__ == "__main__":
    main()
