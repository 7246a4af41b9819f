"""The nearest reference faces in z'1: what the model takes a face to be like, class by class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowexpr.explain.evidence import EvidenceModel

__all__ = ["Neighbour", "ReferenceFaces"]


@dataclass(frozen=True, eq=False, repr=False)  # arrays have no truth value, and fill pages
class Neighbour:
    """A reference sample near an explained one.

    Parameters
    ----------
    index : int
        Its row in the reference.
    id : object
        Its id as given, None where none were.
    distance : float
        Euclidean distance in z'1 under its class.
    image : ndarray
        The sample itself.
    """

    index: int
    id: Any
    distance: float
    image: NDArray[Any]

    def __repr__(self) -> str:
        """Return whose it is, and how far."""
        return f"<Neighbour: index={self.index}, id={self.id}, distance={self.distance:.2f}>"


class ReferenceFaces:
    """Encoded reference samples; the model itself stores none.

    Parameters
    ----------
    model : EvidenceModel
        The trained model.
    samples : ndarray of shape (n, ...)
        As they are to be shown.
    rows : ndarray of shape (n, n_features)
        The same, flattened.
    y : ndarray of shape (n,)
        Class indices; -1 for a sample that is no neighbour of any.
    ids : ndarray of shape (n,) or None
        Whose they are, say.
    encoded_by : str
        What tells the fitted model from others.
    """

    def __init__(
        self,
        model: EvidenceModel,
        samples: NDArray[Any],
        rows: NDArray[Any],
        y: NDArray[np.int64],
        ids: NDArray[Any] | None,
        encoded_by: str,
    ) -> None:
        self.samples, self.y, self.ids, self.encoded_by = samples, y, ids, encoded_by
        z1 = torch.cat([model.encode(x)[0] for x in model.predictor.batches(rows)])
        with torch.inference_mode():
            prime = model.model.head(z1, torch.from_numpy(y).clamp_min(0).to(z1.device))[0]
        self._prime = prime.flatten(1).cpu()

    def nearest(
        self, model: EvidenceModel, z1: Tensor, y: Tensor, exclude: list[set[Any]], k: int
    ) -> list[list[Neighbour]]:
        """Return the k nearest reference samples of class y for every z1.

        Parameters
        ----------
        model : EvidenceModel
            The trained model.
        z1 : Tensor of shape (n, ...)
            Deepest latents.
        y : Tensor of shape (n,)
            Class indices; only reference samples of that class are looked at, in z'1 under it.
        exclude : list of set
            For every sample, the ids that are left out.
        k : int
            How many.

        Returns
        -------
        neighbours : list of list of Neighbour
            Nearest first; fewer than k where there are not so many.
        """
        with torch.inference_mode():
            prime = model.model.head(z1, y)[0].flatten(1).cpu()
        found = []
        for point, label, left_out in zip(prime, y.tolist(), exclude, strict=True):
            allowed = self.y == label
            if left_out and self.ids is not None:
                allowed &= np.array([one not in left_out for one in self.ids.tolist()])
            rows = np.flatnonzero(allowed)
            distance = torch.linalg.vector_norm(self._prime[torch.from_numpy(rows)] - point, dim=1).numpy()
            found.append([self._neighbour(rows[i], distance[i]) for i in distance.argsort()[:k]])
        return found

    def _neighbour(self, row: int, distance: float) -> Neighbour:
        return Neighbour(int(row), None if self.ids is None else self.ids[row], float(distance), self.samples[row])
