"""People's own neutral faces: subtracted in latent space, and morphed to every expression for comparison.

    python benchmarks/neutral.py [jaffe:jaffe] [--folds 5] [--max-folds 2] [--resume DIR]

A data set is FOLDER or FOLDER:LAYOUT as in setting.py, with a class "neutral"; without one, faces are drawn. In every
fold by subject, a flow is trained on the expressions of the training people. Latents of all are then classified by
linear discriminant analysis and a Random Forest, fitted on the training people: z'1 under the predicted class, and z1
minus the person's own neutral z1. Beside them stand Bayes' rule and expression regeneration, which takes the nearest of
the six morphs of the person's own neutral face, or of the face itself, in pixels.
"""

import argparse
from typing import Any

import numpy as np
import reporting
import setting
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold
from sklearn.utils import Bunch

from flowexpr import FlowExpressionClassifier


def nearest_morph(flow: Any, X: NDArray[Any], start: NDArray[Any]) -> NDArray[Any]:
    """Return the class whose morph of the start image, which may be the image itself, is nearest to it, in pixels."""
    distances = [
        ((flow.morph(start, label).astype(float) - X) ** 2).reshape(len(X), -1).sum(1) for label in flow.classes_
    ]
    return flow.classes_[np.argmin(distances, axis=0)]


def one_fold(faces: Bunch, train: NDArray[Any], test: NDArray[Any], options: argparse.Namespace) -> dict[str, float]:
    """Return accuracies on the expressions of the test people; train and test are rows, neutral ones among them."""
    X, y, person = faces.images, np.asarray(faces.target_names)[faces.target], faces.subject
    expressive, is_neutral = y != setting.NEUTRAL, y == setting.NEUTRAL
    known, new = train[expressive[train]], test[expressive[test]]
    flow = FlowExpressionClassifier(random_state=options.seed, max_steps=options.steps).fit(
        X[known], y[known], groups=person[known]
    )
    own = {name: X[is_neutral & (person == name)] for name in np.unique(person)}
    latents = {"z'1": flow.transform(X), "z1 minus own neutral": flow.transform(X, groups=person, neutral=is_neutral)}
    found = {"Bayes' rule": np.mean(flow.predict(X[new]) == y[new])}
    start = np.stack([own[name][0] for name in person[new]])
    found["nearest morph of the own neutral face"] = np.mean(nearest_morph(flow, X[new], start) == y[new])
    found["nearest morph of the face itself"] = np.mean(nearest_morph(flow, X[new], X[new]) == y[new])
    classifiers = {
        "LDA": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "Random Forest": RandomForestClassifier(300, random_state=options.seed),
    }
    for features, Z in latents.items():
        for name, classifier in classifiers.items():
            found[f"{name} on {features}"] = classifier.fit(Z[known], y[known]).score(Z[new], y[new])
    return found


def check_neutral(name: str, faces: Bunch) -> None:
    """Leave with a message where somebody has no neutral face."""
    known = faces.subject[setting.labels(faces) == setting.NEUTRAL]
    missing = sorted(set(faces.subject) - set(known))
    if missing:
        raise SystemExit(f"{name}: a {setting.NEUTRAL} face was expected of everybody, but {missing[0]} has none.")


def main() -> None:
    """Run the folds and write the table."""
    parser = setting.parser(__doc__)
    parser.add_argument("--steps", type=int, help="optimiser steps of every fit, at most")
    setting.add_resume_option(parser)
    options = parser.parse_args()
    measure, of_fits = setting.kept(one_fold, options), argparse.Namespace(seed=options.seed, steps=options.steps)
    parts = []
    for name, faces in setting.read_or_draw(options, neutral=True, n_clips=2, n_frames=2).items():
        check_neutral(name, faces)
        folds = list(GroupKFold(options.folds).split(faces.images, groups=faces.subject))[: options.max_folds]
        scored = [measure(faces, train, test, of_fits) for train, test in folds]
        rows = [[row, f"{100 * np.mean([fold[row] for fold in scored]):.1f}"] for row in scored[0]]
        parts += [f"**{name}** ({len(folds)} folds by subject)", reporting.table(["", "accuracy"], rows)]
    reporting.write("neutral", "\n\n".join(parts))


if __name__ == "__main__":
    main()
