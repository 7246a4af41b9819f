"""The training loop: AdamW with a one-cycle schedule, weight averaging, early stopping, resumable at any step.

Everything random in step s of epoch e is drawn from a generator seeded with (seed, e, s), so the state of a
run is its tensors and counters, and a resumed run repeats an uninterrupted one bit for bit (on a GPU, if cuDNN is told
to be deterministic).
"""

import math
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from tqdm import tqdm

from flowexpr._callbacks import EpochCallbacks
from flowexpr.ahead import ahead
from flowexpr.exceptions import TrainingDivergedError
from flowexpr.signals import ImageSignal
from flowexpr.training.averaging import WeightAverage, running_statistics
from flowexpr.training.checkpoint import Checkpoint
from flowexpr.training.data import TrainingData, generator_for
from flowexpr.training.flat import FlatParameters
from flowexpr.training.objective import UNLABELLED, ClassObjective, Objective

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises to its full value."""
LONGEST_CONSTANT_WARM_UP = 100
"""Steps of the rise of a constant schedule, at most. Without it the first steps, all of full size, blow a flow of
more than a hundred coupling layers up beyond float32 (openai/glow warms up for ten epochs)."""
LARGEST_GRADIENT = 10.0
"""Gradients are scaled down to this norm."""
MOST_SKIPPED_IN_A_ROW = 10
"""Steps without a finite loss and gradient, one after another, that end the training."""

BATCHES_AHEAD = 2
"""Batches of images that may wait, read and changed while a step runs."""

HistoryRow = dict[str, float | int]


def how_to_converge(learning_rate: float) -> str:
    """Return what to do where training diverged."""
    return (
        f"Lower learning_rate={learning_rate:g} (a third of it, say), and look for extreme values in X, or NaN in what "
        "a function augment returns."
    )


@dataclass(frozen=True)
class Plan:
    """How to train.

    Parameters
    ----------
    max_epochs : int
        Passes over the training set, at most.
    max_steps : int or None
        Optimiser steps, at most.
    batch_size : int
        Rows of a batch.
    learning_rate : float
        The highest of the schedule.
    schedule : {"one-cycle", "constant"}
        Whether the learning rate falls after its rise.
    weight_decay : float
        Of AdamW; 0 is Adam.
    weight_averaging : float
        Decay of the exponential moving average of the weights; 0 for none.
    patience : int or None
        Epochs without a better validation loss before training stops.
    seed : int
        Of everything random.
    dtype : torch.dtype
        Of the parameters.
    device : torch.device
        Where to train.
    verbose : int
        1 for a progress bar, 2 for a line per epoch too.
    title : str
        Of the progress bar.
    """

    max_epochs: int
    max_steps: int | None
    batch_size: int
    learning_rate: float
    schedule: str
    weight_decay: float
    weight_averaging: float
    patience: int | None
    seed: int
    dtype: torch.dtype
    device: torch.device
    verbose: int = 0
    title: str = "fit"


class Trainer:
    """Trains a model; `model` holds the trained weights afterwards, also after an interruption.

    Parameters
    ----------
    model : nn.Module
        Trained in place: a `FlowModel`, or a classifier that maps x to logits.
    objective : Objective or ClassObjective
        What is minimised.
    data, validation : TrainingData
        What to train on, and what to watch (None for nothing).
    plan : Plan
        How to train.
    checkpoint : Checkpoint, optional
        Where to keep the state.
    callbacks : EpochCallbacks, optional
        Told of every epoch; training stops where one says so.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective | ClassObjective,
        data: TrainingData,
        validation: TrainingData | None,
        plan: Plan,
        *,
        checkpoint: Checkpoint | None = None,
        callbacks: EpochCallbacks | None = None,
    ) -> None:
        self.model = model
        self.objective = objective
        self.data = data
        self.validation = validation
        self.plan = plan
        self.checkpoint = checkpoint
        self.callbacks = callbacks
        self.n_batches = data.n_batches(plan.batch_size)
        self.n_steps = plan.max_epochs * self.n_batches
        if plan.max_steps is not None:
            self.n_steps = min(self.n_steps, plan.max_steps)
        self.history: list[HistoryRow] = []
        self.step = 0
        self.sums = self._no_sums()
        self.skipped_in_a_row = 0
        self.best_loss, self.best_epoch = math.inf, 0
        self.best: dict[str, Tensor] = {}

    def run(self) -> None:
        """Train until the steps are done, patience ends, or a callback says stop.

        Raises
        ------
        TrainingDivergedError
            If ten steps in a row, or all, have no finite loss or gradient.
        """
        self._initialise_actnorm()
        self.parameters = FlatParameters(self.model)
        self.statistics = running_statistics(self.model)
        self.optimiser = torch.optim.AdamW(
            [self.parameters.vector],
            lr=self.plan.learning_rate,
            weight_decay=self.plan.weight_decay,
            fused=self.plan.device.type in ("cpu", "cuda"),
        )
        decay = self.plan.weight_averaging
        self.average = WeightAverage(self.model, self.parameters, decay) if decay else None
        self._resume()
        try:
            self._train()
            self._check_any_finite()
        finally:
            self._keep_the_best_weights()
            self.parameters.release()
            self.model.eval()

    def _train(self) -> None:
        is_silent = not self.plan.verbose
        with tqdm(total=self.n_steps, initial=self.step, disable=is_silent, unit="step", desc=self.plan.title) as bar:
            # A run killed between its last step and the end of that epoch still has the epoch to end.
            while self.step < self.n_steps or self.sums.n_steps:
                if self._train_epoch(bar):
                    break

    def _train_epoch(self, bar: tqdm) -> bool:
        """Train to the end of the epoch (or of the steps); return whether to stop."""
        epoch = len(self.history)
        self.model.train()
        if self.callbacks is not None:
            self.callbacks.begin_epoch()
        began = time.perf_counter() - self.sums.seconds
        with closing(self._batches(epoch)) as batches:
            for x, y in batches:
                self._train_step(x, y)
                self.sums.seconds = time.perf_counter() - began
                bar.update()
                bar.set_postfix(self.sums.means_of_losses(), refresh=False)
                if self.checkpoint is not None and self.checkpoint.due():
                    self._write_checkpoint()
        return self._end_epoch(began, bar)

    def _batches(self, epoch: int) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Make what is left of an epoch, batch after batch; images in a thread, some batches ahead."""
        seed, first = self.plan.seed, self.sums.n_steps
        rows = self.data.epoch(self.plan.batch_size, generator_for(seed, epoch))[: first + self.n_steps - self.step]
        made = (self.data.batch(rows[i], generator_for(seed, epoch, i, 1)) for i in range(first, len(rows)))
        return ahead(made, BATCHES_AHEAD) if isinstance(self.data.signal, ImageSignal) else made

    def _train_step(self, x: Tensor, y: Tensor) -> None:
        plan = self.plan
        x, y = x.to(plan.device, plan.dtype), y.to(plan.device)
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate(self.step)
        self.parameters.zero_gradient()
        before = [values.clone() for values in self.statistics]
        losses = self.objective(self.model(x), y)
        losses.total.backward()
        norm = self.parameters.clip_gradient(LARGEST_GRADIENT)
        finite = math.isfinite(norm) and math.isfinite(losses.total.item())
        if finite:
            self.optimiser.step()
            if self.average is not None:
                self.average.update()
        else:
            for values, kept in zip(self.statistics, before, strict=True):
                values.copy_(kept)
        self._count_skipped(finite)
        self.step += 1
        self.sums.add(losses, int((y != UNLABELLED).sum()), finite)

    def _learning_rate(self, step: int) -> float:
        constant = self.plan.schedule == "constant"
        if constant:
            # Of the steps that the epochs hold, so that max_steps cuts a run short without changing it.
            rise = min(round(WARM_UP * self.plan.max_epochs * self.n_batches), LONGEST_CONSTANT_WARM_UP)
        else:
            rise = round(WARM_UP * self.n_steps)
        rise = max(1, rise)
        if step < rise:
            return self.plan.learning_rate * (step + 1) / rise
        if constant:
            return self.plan.learning_rate
        progress = (step - rise) / max(1, self.n_steps - rise)
        return self.plan.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def _count_skipped(self, finite: bool) -> None:
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        if self.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            self._diverged(self.skipped_in_a_row)

    def _check_any_finite(self) -> None:
        n_skipped = sum(int(row["skipped_steps"]) for row in self.history)
        if self.step and n_skipped == self.step:
            self._diverged(n_skipped)

    def _diverged(self, n_skipped: int) -> NoReturn:
        raise TrainingDivergedError(
            f"{n_skipped} training steps in a row had no finite loss or gradient (step {self.step}). "
            + how_to_converge(self.plan.learning_rate)
        )

    def _end_epoch(self, began: float, bar: tqdm) -> bool:
        row: HistoryRow = {
            "epoch": len(self.history) + 1,
            "steps": self.step,
            "learning_rate": self._learning_rate(self.step - 1),
            **self.sums.means(),
            "skipped_steps": self.sums.n_skipped,
        }
        if self.validation is not None:
            row |= self._validate(self.validation)
        row["seconds"] = time.perf_counter() - began
        self.history.append(row)
        self.sums = self._no_sums()
        if self.plan.verbose > 1:
            bar.write(" ".join(f"{name}={value:.4g}" for name, value in row.items()))
        stop = self._out_of_patience(row)
        if self.callbacks is not None:
            stop |= self.callbacks.end_epoch()
        return stop

    def _no_sums(self) -> "_EpochSums":
        return _EpochSums(terms=dict.fromkeys(self.objective.terms, 0.0))

    def _validate(self, data: TrainingData) -> HistoryRow:
        model = self.averaged_model().eval()
        sums = self._no_sums()
        with torch.inference_mode():
            for indices in data.in_order(4 * self.plan.batch_size):
                x, y = data.batch(indices, None)
                x, y = x.to(self.plan.device, self.plan.dtype), y.to(self.plan.device)
                sums.add(self.objective(model(x), y), len(y), True, weight=len(y))
        self.model.train()
        return {f"val_{name}": value for name, value in sums.means().items()}

    def _out_of_patience(self, row: HistoryRow) -> bool:
        if self.plan.patience is None:
            return False
        loss = self.objective.total(*(row[f"val_{name}"] for name in self.objective.terms))
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, int(row["epoch"])
            self.best = {name: t.clone() for name, t in self.averaged_model().state_dict().items()}
        return row["epoch"] - self.best_epoch >= self.plan.patience

    @torch.no_grad()
    def _initialise_actnorm(self) -> None:
        """Let ActNorm see one batch before anything is counted, averaged or compared."""
        plan = self.plan
        first = self.data.epoch(plan.batch_size, generator_for(plan.seed, 0))[0]
        x, _ = self.data.batch(first, generator_for(plan.seed, 0, 0, 1))
        self.model.train()
        self.model(x.to(plan.device, plan.dtype))

    def averaged_model(self) -> nn.Module:
        """Return the model with the averaged weights, or the trained one where nothing is averaged."""
        return self.model if self.average is None else self.average.model

    @torch.no_grad()
    def _keep_the_best_weights(self) -> None:
        best = self.best or (self.averaged_model().state_dict() if self.step and self.average is not None else {})
        if best:
            self.model.load_state_dict(best)

    def _write_checkpoint(self) -> None:
        assert self.checkpoint is not None
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": t for name, t in self.average.model.state_dict().items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        of_vector = self.optimiser.state_dict()["state"].get(0, {})
        tensors |= {f"optimiser.{name}": t for name, t in of_vector.items()}
        description = {
            "step": self.step,
            "history": self.history,
            "sums": vars(self.sums),
            "skipped_in_a_row": self.skipped_in_a_row,
            "best_loss": self.best_loss if self.best else None,
            "best_epoch": self.best_epoch,
            "n_averaged": 0 if self.average is None else self.average.n_updates,
        }
        self.checkpoint.write({name: t.clone() for name, t in tensors.items()}, description)

    def _resume(self) -> None:
        stored = self.checkpoint.read() if self.checkpoint is not None else None
        if stored is None:
            return
        tensors, description = stored
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "best": {}, "optimiser": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        if self.average is not None:
            self.average.model.load_state_dict(parts["average"])
            self.average.n_updates = description["n_averaged"]
        self.best = {name: tensor.to(self.plan.device) for name, tensor in parts["best"].items()}
        groups = self.optimiser.state_dict()["param_groups"]
        state = {0: parts["optimiser"]} if parts["optimiser"] else {}
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.step = description["step"]
        self.history = description["history"]
        self.sums = _EpochSums(**description["sums"])
        self.skipped_in_a_row = description["skipped_in_a_row"]
        self.best_loss = math.inf if description["best_loss"] is None else description["best_loss"]
        self.best_epoch = description["best_epoch"]


@dataclass
class _EpochSums:
    """Running sums of an epoch; the losses are summed over finite steps alone."""

    n_steps: int = 0
    n_skipped: int = 0
    weight: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    n_correct: int = 0
    n_labelled: int = 0
    seconds: float = 0.0

    def add(self, losses: Any, n_labelled: int, finite: bool, *, weight: float = 1.0) -> None:
        self.n_steps += 1
        if not finite:
            self.n_skipped += 1
            return
        self.weight += weight
        for name in self.terms:
            self.terms[name] += weight * getattr(losses, name).item()
        self.n_correct += int(losses.n_correct)
        self.n_labelled += n_labelled

    def means_of_losses(self) -> dict[str, float]:
        return {name: value / (self.weight or math.nan) for name, value in self.terms.items()}

    def means(self) -> HistoryRow:
        return {**self.means_of_losses(), "accuracy": self.n_correct / (self.n_labelled or math.nan)}
