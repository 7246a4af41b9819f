"""A trained flow applied to arrays, a batch at a time: likelihoods, latents and images, NHWC at this border.

Vectors are evaluated in float64 whatever the training precision was: their networks are small, and a row's result
does then not depend on the rows beside it. Images are where only that inverts exactly.
"""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor
from torch.nn import functional as F

from flowexpr.arithmetic import move, own_arithmetic
from flowexpr.flows.model import FlowModel
from flowexpr.flows.networks import full_precision
from flowexpr.signals import ImageSignal, Signal

ACTIVATION_BYTES = {"cpu": 2**24, "cuda": 2**29}
"""Bytes of the widest activation of a batch, at most, by the kind of device: enough to keep it busy, little to hold.
On a processor also little enough for freed memory to be used again instead of being asked of the system anew."""

CLOSE_CALL = 0.25
"""Nats between the two likeliest classes below which bfloat16 may tell them apart wrongly; float32 then decides."""

MOST_CLOSE_CALLS = 1 / 16
"""Share of a batch, at most, that float32 decides: hardly any is close once a model is trained."""

MAP_SIDE = 16
"""Places along a side of a map of energy, at most."""

SMALLEST_ENERGY = 1e-6
"""Added before a logarithm of energy, whose mean is 1."""


class LatentArrays(NamedTuple):
    """Latents of n samples as arrays.

    Attributes
    ----------
    z : list of ndarray
        z1 (the deepest), z2, ..., each (n, h, w, c), or (n, n_features).
    z1_prime : ndarray
        h(z1, y), of z1's shape.
    y : ndarray of shape (n,)
        The class indices of z1_prime.
    """

    z: list[NDArray[np.floating]]
    z1_prime: NDArray[np.floating]
    y: NDArray[np.int64]


class Predictor:
    """A trained model and the signal that it models.

    Parameters
    ----------
    model : FlowModel
        In evaluation mode; moved to `device`.
    signal : ImageSignal or VectorSignal
        How rows become the flow's variable.
    log_prior : ndarray of shape (n_classes,)
        Log-probability of every class.
    temperature : float
        Divides the log-likelihoods in decisions.
    mirror : bool
        Whether decisions average over an image and its mirror image.
    device : torch.device
        Where to compute.
    exact : bool, default=False
        Compute images in float64 too.
    """

    def __init__(
        self,
        model: FlowModel,
        signal: Signal,
        log_prior: NDArray[np.float64],
        *,
        temperature: float,
        mirror: bool,
        device: torch.device,
        exact: bool = False,
    ) -> None:
        self.is_image = isinstance(signal, ImageSignal)
        if exact or not self.is_image:
            model = copy.deepcopy(model).double()
            model.set_mixed_precision(False)
        self.model = move(model, device)
        self.signal = signal
        self.log_prior = log_prior
        self.temperature = temperature
        self.mirror = mirror and self.is_image
        self.device = device
        self.dtype = next(self.model.parameters()).dtype

    def class_log_likelihood(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return log p(x | y = i) of the rows as given, (n, n_classes), nats."""
        tables = [self._by_class(x) for x in self.batches(rows)]
        return np.concatenate([shared[:, None] + by_class for shared, by_class in tables]) + self.signal.log_volume

    def decision_logits(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return, up to a constant a row, mean over views of log p(x | y = i) / temperature + log prior."""
        return np.concatenate([self.logits(x) for x in self.batches(rows)])

    def views(self, rows: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
        """Return what `TypicalityReference` compares of the rows, one array (n, d) a view.

        Returns
        -------
        views : dict of str to ndarray
            "levels", the parts of log p(x) and the energy of every latent; "z1"; and for every other latent, such as
            "z2", the log of its energy at each place, in units of its prior.
        """
        batches = [self._views(x) for x in self.batches(rows)]
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    @torch.inference_mode()
    @own_arithmetic()
    def _views(self, x: Tensor) -> dict[str, NDArray[np.float64]]:
        latents = self.model.backbone(x)
        log_prior = torch.from_numpy(self.log_prior).to(self.device)
        by_class = self.by_class(latents.z[0])
        energy = [normal.square().double() for normal in latents.normal]
        levels = [*latents.log_dets, *latents.log_priors, *(e.flatten(1).sum(1) for e in energy)]
        views = {
            "levels": torch.stack([*levels, torch.logsumexp(by_class + log_prior, 1)], 1),
            "z1": latents.z[0].flatten(1),
        }
        for i, e in enumerate(energy):
            views[f"z{i + 2}"] = (_at_most(e.mean(1), MAP_SIDE) + SMALLEST_ENERGY).log().flatten(1)
        return {name: view.double().cpu().numpy() for name, view in views.items()}

    def latents(self, rows: NDArray[Any], y: NDArray[np.int64] | None = None) -> LatentArrays:
        """Return every latent; z'1 under the class indices y, or under the predicted class."""
        parts: list[LatentArrays] = []
        start = 0
        for x in self.batches(rows):
            given = None if y is None else y[start : start + len(x)]
            parts.append(self._latents(x, given))
            start += len(x)
        z = [np.concatenate(level) for level in zip(*(part.z for part in parts), strict=True)]
        return LatentArrays(
            z, np.concatenate([part.z1_prime for part in parts]), np.concatenate([part.y for part in parts])
        )

    def invertible_latents(self, rows: NDArray[Any], y: NDArray[np.int64] | None = None) -> LatentArrays:
        """Return `latents` that `decode` maps back to the quantised rows exactly.

        What the model's precision rounds, the inverse of a flow can magnify: by far more than a grey level for images
        unlike those of the training set. Where that happens, all latents are computed again in float64.
        """
        found = self.latents(rows, y)
        if not self.is_image or self.dtype == torch.float64 or self._is_inverted(rows, found.z):
            return found
        return self._in_float64().latents(rows, found.y)

    def _is_inverted(self, rows: NDArray[Any], z: list[NDArray[Any]]) -> bool:
        size = self._batch_size()
        return all(
            np.array_equal(self.decode([level[i : i + size] for level in z]), self._quantised(rows[i : i + size]))
            for i in range(0, len(rows), size)
        )

    def _quantised(self, rows: NDArray[Any]) -> NDArray[Any]:
        return self.signal.to_rows(self.signal.to_model(rows))

    @torch.inference_mode()
    @own_arithmetic()
    def margins(self, z1: NDArray[Any], label: int) -> NDArray[np.float64]:
        """Return by how many nats the class index `label` is likelier for z1 (n, ...) than the next one, (n,)."""
        by_class = self.by_class(self._to_tensor(z1)).cpu().numpy()
        return by_class[:, label] - np.delete(by_class, label, axis=1).max(axis=1, initial=-np.inf)

    @torch.inference_mode()
    @own_arithmetic()
    def z1_from_prime(self, z1_prime: NDArray[Any], y: NDArray[np.int64]) -> NDArray[np.floating]:
        """Undo the head: z1 from z'1 and the class indices y."""
        return _to_array(self.model.head.inverse(self._to_tensor(z1_prime), torch.from_numpy(y).to(self.device)))

    @torch.inference_mode()
    @own_arithmetic()
    def decode(self, z: list[NDArray[Any]]) -> NDArray[Any]:
        """Map latents z1, z2, ... back to rows (n, n_features)."""
        size = self._batch_size()
        rows = []
        for start in range(0, len(z[0]), size):
            batch = tuple(self._to_tensor(level[start : start + size]) for level in z)
            rows.append(self.signal.to_rows(self.model.decode(batch)))
        return np.concatenate(rows)

    @torch.inference_mode()
    @own_arithmetic()
    def sample(self, y: NDArray[np.int64], temperature: float, generator: torch.Generator) -> NDArray[Any]:
        """Draw one row for every class index in y (n,)."""
        size = self._batch_size()
        rows = []
        for start in range(0, len(y), size):
            labels = torch.from_numpy(y[start : start + size]).to(self.device)
            rows.append(self.signal.to_rows(self.signal.limit(self.model.sample(labels, temperature, generator))))
        return np.concatenate(rows)

    def _batch_size(self) -> int:
        """Return the number of rows whose widest activation, in f or in h, fits `ACTIVATION_BYTES`."""
        bytes_each = self.dtype.itemsize * self.model.hidden_size
        return max(1, ACTIVATION_BYTES[self.device.type] // (bytes_each * (2 if self.mirror else 1)))

    def batches(self, rows: NDArray[Any]) -> Iterator[Tensor]:
        """Yield the flow's variable of rows (n, n_features), as many at a time as fit `ACTIVATION_BYTES`."""
        size = self._batch_size()
        for start in range(0, len(rows), size):
            yield self.signal.to_model(rows[start : start + size]).to(self.device, self.dtype)

    @torch.inference_mode()
    @own_arithmetic()
    def _by_class(self, x: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        latents = self.model.backbone(x)
        return latents.log_prob.double().cpu().numpy(), self.by_class(latents.z[0]).cpu().numpy()

    def by_class(self, z1: Tensor) -> Tensor:
        """Return log p(z1 | y = i), (n, n_classes), nats, summed in float64: the sum that decisions compare."""
        terms = self.model.head.terms_of_all_classes(z1)
        return terms.flatten(2).sum(2, dtype=torch.float64) + self.model.head.shared_log_det()

    def with_mirror(self, x: Tensor) -> Tensor:
        """Return what decisions average over: x (n, ...), followed by its mirror images where `mirror` is on."""
        return torch.cat([x, self.signal.mirror(x)]) if self.mirror else x

    def logits(self, x: Tensor) -> NDArray[np.float64]:
        """Return the decision logits of the flow's variable x (n, ...), (n, n_classes); see `decision_logits`."""
        return self.settle(x, self.mean_over_views(self._by_class(self.with_mirror(x))[1], len(x)))

    def logits_and_log_prob(self, x: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return `logits` of the flow's variable x (n, ...), and log p(x) of it as given, (n,), nats."""
        shared, by_class = self._by_class(self.with_mirror(x))
        as_given = slice(len(x))
        log_prob = shared[as_given] + logsumexp(by_class[as_given] + self.log_prior, axis=1)
        return self.settle(x, self.mean_over_views(by_class, len(x))), log_prob

    def settle(self, x: Tensor, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the decision logits of x with the closest calls of bfloat16, if any, made again in float32."""
        if not self.model.mixed_precision:
            return logits
        ordered = np.sort(logits, axis=1)
        gap = (ordered[:, -1] - ordered[:, -2]) * self.temperature
        closest = np.argsort(gap, kind="stable")[: max(1, int(MOST_CLOSE_CALLS * len(gap)))]
        close = closest[gap[closest] < CLOSE_CALL]
        if len(close):
            logits[close] = self._logits_in_float32(x[torch.from_numpy(close).to(x.device)])
        return logits

    def _logits_in_float32(self, x: Tensor) -> NDArray[np.float64]:
        with full_precision():
            return self.mean_over_views(self._by_class(self.with_mirror(x))[1], len(x))

    def _in_float64(self) -> "Predictor":
        return Predictor(
            self.model,
            self.signal,
            self.log_prior,
            temperature=self.temperature,
            mirror=self.mirror,
            device=self.device,
            exact=True,
        )

    @torch.inference_mode()
    @own_arithmetic()
    def _latents(self, x: Tensor, y: NDArray[np.int64] | None) -> LatentArrays:
        z = self.model.encode(self.with_mirror(x) if y is None else x)
        if y is None:
            y = self.settle(x, self.mean_over_views(self.by_class(z[0]).cpu().numpy(), len(x))).argmax(1)
        z = tuple(level[: len(x)] for level in z)
        z1_prime, _ = self.model.head(z[0], torch.from_numpy(y).to(self.device))
        return LatentArrays([_to_array(level) for level in z], _to_array(z1_prime), y)

    def mean_over_views(self, by_class: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        """Return the decision logits (n, n_classes) for log-likelihoods of n images, then of their mirror images."""
        mean = by_class.reshape(-1, n, len(self.log_prior)).mean(0)
        return mean / self.temperature + self.log_prior

    def _to_tensor(self, latent: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.require(latent, requirements=["C", "W"])).to(self.device, self.dtype)
        return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def _to_array(latent: Tensor) -> NDArray[np.floating]:
    if latent.ndim == 4:
        latent = latent.permute(0, 2, 3, 1)
    return latent.cpu().contiguous().numpy()


def _at_most(maps: Tensor, side: int) -> Tensor:
    """Average maps (n, H, W) over neighbours, so that they have `side` places along a side at most."""
    height, width = maps.shape[1:]
    return F.adaptive_avg_pool2d(maps[:, None], (min(height, side), min(width, side)))[:, 0]
