"""The training set as batches: what is drawn depends on (seed, epoch, step) alone, so that training can resume."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowexpr.signals import ImageSignal, Signal
from flowexpr.training.augment import Augmentation, augment_faces, augment_with
from flowexpr.training.objective import UNLABELLED

LABELLED_SHARE = 0.5
"""Share of labelled rows in a batch where there are unlabelled ones."""


def generator_for(*key: int) -> torch.Generator:
    """Return a generator whose stream is a function of a key of non-negative integers alone."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


@dataclass(frozen=True)
class TrainingData:
    """Rows and class indices, read a batch at a time.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Never copied as a whole; may be a read-only memmap.
    y : ndarray of shape (n,)
        Class indices, `UNLABELLED` where there is none.
    indices : ndarray of int
        Which rows belong to this set.
    signal : ImageSignal or VectorSignal
        How rows become the flow's variable.
    augment : bool or callable
        Whether, or by what, images are changed at random.
    """

    rows: NDArray[Any]
    y: NDArray[np.int64]
    indices: NDArray[np.int64]
    signal: Signal
    augment: bool | Augmentation = False

    def batch(self, indices: NDArray[np.int64], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return the flow's variable and the class indices of some rows; noise and changes only with a generator."""
        rows = self.rows[np.sort(indices)]  # ascending: friendlier to a memmap
        y = torch.from_numpy(self.y[np.sort(indices)])
        if generator is None:
            return self.signal.to_model(rows), y
        if not isinstance(self.signal, ImageSignal):
            return self.signal.training_variable(self.signal.to_model(rows), generator), y
        pixels = self.signal.pixels(rows)
        if callable(self.augment):
            pixels = augment_with(self.augment, pixels, generator)
        elif self.augment:
            pixels = augment_faces(pixels, generator)
        return self.signal.training_variable(pixels, generator), y

    def n_batches(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""
        labelled, unlabelled = self._by_label()
        if not len(unlabelled):
            return -(-len(labelled) // batch_size)
        return max(
            -(-len(unlabelled) // max(1, batch_size - self._n_labelled(batch_size))),
            -(-len(labelled) // self._n_labelled(batch_size)),
        )

    def epoch(self, batch_size: int, generator: torch.Generator) -> list[NDArray[np.int64]]:
        """Return the rows of every batch of an epoch: each row once, in batches of nearly equal size.

        With unlabelled rows, half of every batch is labelled and the smaller of the two sets comes round again.
        """
        labelled, unlabelled = self._by_label()
        n_batches = self.n_batches(batch_size)
        if not len(unlabelled):
            return np.array_split(_shuffled(labelled, generator), n_batches)
        per_batch = self._n_labelled(batch_size)
        parts = [
            np.array_split(_cycled(rows, max(len(rows), n_batches * size), generator), n_batches)
            for rows, size in ((labelled, per_batch), (unlabelled, max(1, batch_size - per_batch)))
        ]
        return [np.concatenate(pair) for pair in zip(*parts, strict=True)]

    def in_order(self, batch_size: int) -> list[NDArray[np.int64]]:
        """Return the rows of every batch, in order."""
        return np.array_split(self.indices, -(-len(self.indices) // batch_size))

    def _by_label(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        labelled = self.y[self.indices] != UNLABELLED
        return self.indices[labelled], self.indices[~labelled]

    @staticmethod
    def _n_labelled(batch_size: int) -> int:
        return max(1, round(LABELLED_SHARE * batch_size))


def _shuffled(rows: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    return rows[torch.randperm(len(rows), generator=generator).numpy()]


def _cycled(rows: NDArray[np.int64], length: int, generator: torch.Generator) -> NDArray[np.int64]:
    rounds = -(-length // len(rows))
    return np.concatenate([_shuffled(rows, generator) for _ in range(rounds)])[:length]
