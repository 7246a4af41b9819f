"""Morphs: is the target expression recognised, and is it still the same person? Of people the flow never saw.

Two judges who know nothing of the flow: a CNN that names the expression, and a linear classifier of people, trained on
other clips of the very people who are morphed. Both are first judged themselves, on real images.

    python benchmarks/morph.py --models DIR [--ck CK+48]

Writes the page that the documentation includes. Models are kept in DIR, so that a second run only measures.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import reporting
from sklearn.model_selection import GroupKFold

import flowexpr
from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier, pca_lda
from flowexpr.datasets import load_faces, make_faces
from flowexpr.demo import mirror_half

STRENGTHS = (0.5, 1.0, 1.5)


class Faces(NamedTuple):
    """Images with what is known of them."""

    images: np.ndarray
    y: np.ndarray
    subject: np.ndarray
    clip: np.ndarray

    def __getitem__(self, rows: Any) -> "Faces":  # type: ignore[override]
        return Faces(*(column[rows] for column in (self.images, self.y, self.subject, self.clip)))


def main() -> None:
    """Measure drawn faces and, where the folder is given, CK+48."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="where trained models are kept")
    parser.add_argument("--ck", help="CK+48, a folder per expression, names as S010_004_00000017.png")
    options = parser.parse_args()
    options.models.mkdir(parents=True, exist_ok=True)
    parts = [measure_drawn(options.models)]
    if options.ck:
        parts.append(measure_ck(options.models, options.ck))
    reporting.write("morphs", "\n\n".join(parts))


def measure_drawn(models: Path) -> str:
    """Train on 22 drawn people, morph the neutral faces of others to six expressions.

    The seven left out of the 29, and the first twenty of another seed, are those on whom the share of samples behind
    `class_latents_` was chosen; the last twenty had no part in any choice.
    """
    training = drawn(29, n_clips=2, seed=0)
    training = training[training.subject < 22]
    left_out = drawn(29, n_clips=6, seed=0)
    people = {
        "7 left out": left_out[left_out.subject >= 22],
        "20 more": drawn(20, n_clips=6, seed=7),
        "20 others": drawn(20, n_clips=6, seed=12),
    }
    judge = kept(models / "recogniser.joblib", lambda: fit_recogniser(drawn(200, n_clips=2, seed=1)))
    rows, lines = [], []
    for group, unseen in people.items():
        first = unseen.clip % 6 == 0  # numbered through, six a person and class
        person = pca_lda(random_state=0).fit(unseen.images[~first], unseen.subject[~first])
        shown = unseen[unseen.y != "neutral"]
        lines.append(
            f"Drawn people, {group}: the CNN names {judge.score(shown.images, shown.y):.1%} of their real expressions, "
            f"the subject classifier {person.score(unseen.images[first], unseen.subject[first]):.1%} of the people."
        )
        start = unseen[first & (unseen.y == "neutral")]
        for name, changes in (("default", {}), ("zero_z1", {"zero_z1": True})):
            flow = kept(
                models / f"{name}.flowexpr",
                lambda changes=changes: FlowExpressionClassifier(random_state=0, **changes).fit(
                    training.images, training.y
                ),
            )
            for from_ in ("neutral", None):
                origin = None if from_ is None else np.full(len(start.y), from_)
                rows += measure(f"{name}, {group}", flow, judge, person, start, from_, origin)
    return "\n".join([*lines, "", reporting.table(HEADER, rows)])


def measure_ck(models: Path, folder: str) -> str:
    """Train on the first fold's training people of CK+48, which has no neutral class, and morph the others' faces."""
    loaded = load_faces(
        folder,
        subject=r"^(S\d+)",
        clip=r"^(S\d+_\d+)",
        classes=("anger", "disgust", "fear", "happy", "sadness", "surprise"),
    )
    faces = Faces(loaded.images, loaded.target_names[loaded.target], loaded.subject, loaded.clip)
    train, test = next(GroupKFold(5).split(faces.images, faces.y, faces.subject))
    training, unseen = faces[train], faces[test]
    judge = kept(
        models / "ck_recogniser.joblib",
        lambda: CNNExpressionClassifier(random_state=1).fit(training.images, training.y),
    )
    flow = kept(
        models / "ck.flowexpr", lambda: FlowExpressionClassifier(random_state=0).fit(training.images, training.y)
    )
    # The first clip of everybody is morphed; who has another one can be told by it.
    first_clip = {name: min(unseen.clip[unseen.subject == name]) for name in np.unique(unseen.subject)}
    first = unseen.clip == np.array([first_clip[name] for name in unseen.subject])
    others = unseen[~first]
    start = unseen[first & np.isin(unseen.subject, others.subject)]
    person = pca_lda(random_state=0).fit(others.images, others.subject)
    rows = measure("default", flow, judge, person, start, "own", start.y)
    rows += measure("default", flow, judge, person, start, None, None)
    return (
        f"CK+48: the CNN names {judge.score(unseen.images, unseen.y):.1%} of the real expressions, the subject "
        f"classifier {person.score(start.images, start.subject):.1%} of {len(np.unique(start.subject))} people.\n\n"
        f"{reporting.table(HEADER, rows)}"
    )


HEADER = ["model", "from", "strength", "morphs", "recognised", "same person", "least recognised"]


def measure(
    name: str, flow: Any, judge: Any, person: Any, start: Faces, from_: str | None, origin: np.ndarray | None
) -> list[list[Any]]:
    """Return a row per strength: the share of morphs whose expression, and whose person, is named right."""
    rows_of_table = []
    for strength in STRENGTHS:
        recognised, same = {}, []
        for target in (label for label in flow.classes_ if label != "neutral"):
            rows = start.y != target
            starts = None if origin is None else origin[rows]
            morphs = flow.morph(start.images[rows], target, from_=starts, strength=strength)
            recognised[target] = judge.predict(morphs) == target
            same.append(person.predict(morphs) == start.subject[rows])
        found = np.concatenate(list(recognised.values()))
        worst = min(recognised, key=lambda label: recognised[label].mean())
        least = f"{worst} {recognised[worst].mean():.0%}"
        shares = [f"{found.mean():.1%}", f"{np.concatenate(same).mean():.1%}"]
        rows_of_table.append([name, from_ or "all others", strength, len(found), *shares, least])
    return rows_of_table


def drawn(n_subjects: int, *, n_clips: int, seed: int) -> Faces:
    """Draw people with six expressions and neutral faces, 32 x 32."""
    faces = make_faces(n_subjects, neutral=True, n_clips=n_clips, image_size=32, random_state=seed)
    return Faces(faces.images, faces.target_names[faces.target], faces.subject, faces.clip)


def fit_recogniser(faces: Faces) -> CNNExpressionClassifier:
    """Train the judge of expressions on other people than those of the flow, and many more."""
    cnn = CNNExpressionClassifier(max_epochs=12, augment=mirror_half, random_state=0)
    return cnn.fit(faces.images, faces.y)


def kept(path: Path, fit: Callable[[], Any]) -> Any:
    """Return the model in a file, or fit it and keep it there."""
    is_flow = path.suffix == ".flowexpr"
    if path.exists():
        return flowexpr.load(path) if is_flow else joblib.load(path)
    model = fit()
    if is_flow:
        model.save(path)
    else:
        joblib.dump(model, path)
    return model


if __name__ == "__main__":
    main()
