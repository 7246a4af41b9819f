"""The rows of ``flowexpr predict``: what the model says of each picture, as CSV columns of ours or of py-feat's."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowexpr.classifier import FlowExpressionClassifier
from flowexpr.faces.face import NO_FACE
from flowexpr.faces.pictures import Picture

__all__ = ["FexColumns", "OwnColumns", "Prediction", "Smoother", "predictions_of"]

FEX_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
SAME = {"angry": "anger", "disgusted": "disgust", "afraid": "fear", "happy": "happiness", "sad": "sadness"}
"""Words of other data sets for py-feat's emotions."""


@dataclass(frozen=True)
class Prediction:
    """What the model says of a picture; None where the picture could not be looked at."""

    picture: Picture
    label: str = ""
    probabilities: NDArray[np.float64] | None = None
    log_likelihood: float = math.nan
    typicality: float = math.nan
    rejected: str = ""


def predictions_of(
    model: FlowExpressionClassifier,
    pictures: Sequence[Picture],
    *,
    min_confidence: float | None = None,
    min_typicality: float | None = None,
) -> Iterator[Prediction]:
    """Yield the prediction of every picture, computed as one batch.

    Parameters
    ----------
    model : FlowExpressionClassifier
        Fitted on images.
    pictures : sequence of Picture
        Those without pixels get a prediction that is rejected for their error.
    min_confidence, min_typicality : float or None
        A prediction is rejected where the largest probability, or the typicality, is below.
    """
    whole = [picture.pixels for picture in pictures if picture.pixels is not None]
    rows: Iterator[tuple[NDArray[np.float64], float, float]] = iter(())
    if whole:
        X = np.stack(whole)
        rows = zip(model.predict_proba(X), model.score_samples(X), model.typicality(X), strict=True)
    for picture in pictures:
        if picture.pixels is None:
            yield Prediction(picture, rejected=picture.error)
            continue
        proba, log_likelihood, typical = next(rows)
        reasons = []
        if min_confidence is not None and proba.max() < min_confidence:
            reasons.append(f"confidence {proba.max():.3f} below {min_confidence:g}")
        if min_typicality is not None and typical < min_typicality:
            reasons.append(f"typicality {typical:.3g} below {min_typicality:g}")
        label = str(model.classes_[proba.argmax()])
        yield Prediction(picture, label, proba, float(log_likelihood), float(typical), "; ".join(reasons))


class Smoother:
    """Probabilities averaged over the past of a recording, the weight of a frame halved after every `half_life`.

    Parameters
    ----------
    half_life : float
        Seconds.
    """

    def __init__(self, half_life: float):
        self._half_life = half_life
        self._path, self._time = "", 0.0
        self._sum: NDArray[np.float64] | None = None
        self._weight = 0.0

    def add(self, prediction: Prediction) -> NDArray[np.float64] | None:
        """Return the smoothed probabilities of a prediction; None where it has none of its own."""
        picture = prediction.picture
        if picture.path != self._path or not picture.frame:  # an image, or where a video begins
            self._path, self._sum, self._weight, self._time = picture.path, None, 0.0, picture.time or 0.0
        if prediction.probabilities is None:
            return None
        time = picture.time or 0.0
        decay = 0.5 ** ((time - self._time) / self._half_life)
        self._sum = prediction.probabilities + (0 if self._sum is None else decay * self._sum)
        self._weight = 1 + decay * self._weight
        self._time = time
        return self._sum / self._weight


class OwnColumns:
    """The columns of flowexpr: one row for every image and every frame."""

    def __init__(self, labels: Sequence[str], n_values: int, smoothed: bool):
        self._n_labels, self._n_values, self._smoothed = len(labels), n_values, smoothed
        smooth = [f"smooth_{label}" for label in labels] if smoothed else []
        self.header = ["path", "frame", "time", "box", "face_found", "predicted", *(f"p_{label}" for label in labels)]
        self.header += [*smooth, "log_likelihood", "bits_per_dim", "typicality", "rejected", "error"]

    def row(self, prediction: Prediction, smooth: NDArray[np.float64] | None) -> list[str]:
        """Return the cells of a prediction."""
        picture = prediction.picture
        frame = "" if picture.frame is None else str(picture.frame)
        time = "" if picture.time is None else f"{picture.time:.3f}"
        box = "" if picture.face is None else " ".join(f"{value:.1f}" for value in picture.face.box)
        found = "yes" if picture.face is not None else "no" if picture.error == NO_FACE else ""
        cells = [picture.path, frame, time, box, found, prediction.label]
        cells += self._shares(prediction.probabilities)
        cells += self._shares(smooth) if self._smoothed else []
        if prediction.probabilities is None:
            return [*cells, "", "", "", prediction.rejected, picture.error]
        nats = prediction.log_likelihood
        bits = -nats / (self._n_values * math.log(2))
        return [
            *cells,
            f"{nats:.3f}",
            f"{bits:.4f}",
            "" if math.isnan(prediction.typicality) else f"{prediction.typicality:.4g}",
            prediction.rejected,
            "",
        ]

    def _shares(self, values: NDArray[np.float64] | None) -> list[str]:
        return [""] * self._n_labels if values is None else [f"{value:.6g}" for value in values]


class FexColumns:
    """The columns of py-feat's Fex tables [1]_, so that its tools read the file; other labels follow as they are.

    Labels that have one name there, as "happy" and "happiness", have their sum.

    Smoothed probabilities, and why a prediction should not be used or is missing, stand in columns after them.

    References
    ----------
    .. [1] Cheong et al., "Py-Feat: Python Facial Expression Analysis Toolbox", 2023, https://py-feat.org
    """

    def __init__(self, labels: Sequence[str], smoothed: bool):
        names = [SAME.get(label.lower(), label.lower()) for label in labels]
        self._emotions = list(dict.fromkeys([*FEX_EMOTIONS, *names]))
        self._columns = {name: [i for i, each in enumerate(names) if each == name] for name in self._emotions}
        self._smoothed = smoothed
        box = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
        smooth = [f"smooth_{name}" for name in self._emotions] if smoothed else []
        self.header = ["frame", *box, *self._emotions, "input", "approx_time", *smooth, "rejected"]

    def row(self, prediction: Prediction, smooth: NDArray[np.float64] | None) -> list[str]:
        """Return the cells of a prediction; an image is frame 0, what cannot be read at all has none."""
        picture, face = prediction.picture, prediction.picture.face
        box = [""] * 5
        if face is not None:
            left, top, right, bottom = face.box
            score = "" if math.isnan(face.score) else f"{face.score:.4f}"
            box = [*(f"{value:.2f}" for value in (left, top, right - left, bottom - top)), score]
        seconds = picture.time or 0.0
        clock = f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"
        unread = picture.frame is None and picture.error not in ("", NO_FACE)
        return [
            "" if unread else str(picture.frame or 0),
            *box,
            *self._shares(prediction.probabilities),
            os.fspath(picture.path),
            "" if unread else clock,
            *(self._shares(smooth) if self._smoothed else []),
            prediction.rejected,
        ]

    def _shares(self, values: NDArray[np.float64] | None) -> list[str]:
        return [
            "" if values is None or not self._columns[name] else f"{values[self._columns[name]].sum():.6g}"
            for name in self._emotions
        ]
