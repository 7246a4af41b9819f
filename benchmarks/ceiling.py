"""The distance to the limit: what convolutions reach alone, what steps and predictions reach, and what is between.

    python benchmarks/ceiling.py [--precisions float32 mixed]

Every convolution of a training step (its forward pass and its gradients) and of a prediction is run alone, over and
over, on tensors of its shape and type, channels last; the arithmetic of all divided by their time is the ceiling that
this machine has for this mixture of shapes. A step or a prediction reaches a share of it: the arithmetic of its
convolutions divided by all of its time. A profile says what takes that time. What a step takes is the difference
between trainings of several steps and of one, divided by the number of steps between. All of it runs with glibc keeping
freed memory: a convolution alone would otherwise spend up to half of its time on fresh pages, which one inside a step
does not.
"""

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import reporting
import torch
from speed import CONFIGS, KEEP_FREED_MEMORY, N_CLASSES, Config, classifier, fastest, tell_classes_apart
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from flowexpr.parameters import resolve_precision

FORWARD, BACKWARD = torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default
DEFAULT = ["small, 64 px, batch 32", "small, 32 px, batch 32", "paper, batch 4"]
N_STEPS = 3
"""Steps, beyond the first, over which counts and profiles are averaged."""

GROUPS = {
    "convolutions": ("conv",),
    "ReLU": ("relu", "threshold"),
    "copies": ("copy", "cat", "clone", "fill", "zero", "shuffle", "slice_backward"),
    "matrices": ("mm", "linalg", "lu_", "inv"),
    "optimiser": ("adam", "vector_norm", "lerp"),
}
"""What counts as what, by parts of the names of torch's operations; all others are elementwise operations and sums."""
REST = "elementwise operations and sums"
OUTSIDE = "outside torch's operations"


class Key(NamedTuple):
    """A convolution."""

    kind: str
    """forward or backward"""
    images: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: torch.dtype
    gradients: tuple[bool, ...] = ()
    """of what they are asked for: images, kernel, bias"""


class Convolutions(TorchDispatchMode):
    """Counts the convolutions that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Key] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a call and make it."""
        if func in (FORWARD, torch.ops.aten.conv2d.default):  # inference mode shows it undivided
            images, kernel = args[:2]
            self.counts[Key("forward", tuple(images.shape), tuple(kernel.shape), images.dtype)] += 1
        elif func is BACKWARD:
            _, images, kernel = args[:3]
            self.counts[Key("backward", tuple(images.shape), tuple(kernel.shape), images.dtype, tuple(args[-1]))] += 1
        return func(*args, **(kwargs or {}))


def flop(key: Key) -> float:
    """Return the floating point operations of a convolution, or of its gradients at images and kernel."""
    passes = 1 if key.kind == "forward" else sum(key.gradients[:2])
    return 2.0 * key.images[0] * math.prod(key.images[2:]) * math.prod(key.kernel) * passes


def seconds_alone(key: Key) -> float:
    """Return the seconds of one convolution that runs alone."""
    images, kernel = (
        torch.randn(shape).to(key.dtype, memory_format=torch.channels_last) for shape in (key.images, key.kernel)
    )
    bias, window = torch.zeros(len(kernel), dtype=key.dtype), [kernel.shape[2] // 2] * 2
    options = ([1, 1], window, [1, 1], False, [0, 0], 1)
    if key.kind == "forward":
        with torch.inference_mode():
            return fastest_when_warm(lambda: FORWARD(images, kernel, bias, *options))
    gradient = torch.randn_like(FORWARD(images, kernel, bias, *options))
    return fastest_when_warm(lambda: BACKWARD(gradient, images, kernel, [len(kernel)], *options, list(key.gradients)))


def fastest_when_warm(action: Callable[[], object], n: int = 5) -> float:
    """Return the seconds of an action, the fastest of n after a first one."""
    action()
    return fastest(action, n)


class Work:
    """What a configuration does, and how long it takes."""

    def __init__(self, config: Config, precision: str) -> None:
        random = np.random.default_rng(0)
        self.X = random.integers(0, 256, (config.batch, config.side, config.side, 3), dtype=np.uint8)
        self.y = np.arange(config.batch) % N_CLASSES
        self.clf = classifier(config, precision).set_params(device="cpu")  # whose ceiling it is

    def train(self, n_steps: int) -> float:
        """Train for some steps, one per epoch; return the seconds of the fastest."""
        self.clf.set_params(max_steps=n_steps).fit(self.X, self.y)
        tell_classes_apart(self.clf)
        return min(row["seconds"] for row in self.clf.history_)

    def predict(self) -> None:
        """Predict from uint8 arrays."""
        self.clf.predict_proba(self.X)


def convolutions(action: Callable[[], object]) -> Counter[Key]:
    """Return the convolutions of an action."""
    with Convolutions() as mode:
        action()
    return mode.counts


def by_group(action: Callable[[], object]) -> Counter[str]:
    """Return the seconds of an action by group of operations, the operations that others call apart from those."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        action()
    seconds: Counter[str] = Counter()
    for event in profiled.key_averages():
        name = event.key.lower()
        group = next((group for group, parts in GROUPS.items() if any(part in name for part in parts)), REST)
        seconds[group] += event.self_cpu_time_total / 1e6
    return seconds


def per_step(measure: Callable[[Callable[[], object]], Counter[Any]], work: Work) -> Counter[Any]:
    """Measure a training of several steps and of one; return the difference, of one step."""
    many, one = measure(lambda: work.train(1 + N_STEPS)), measure(lambda: work.train(1))
    return Counter({key: (many[key] - one[key]) / N_STEPS for key in many})


def measure(config: Config, precision: str) -> tuple[list[list[str]], dict[str, list[float]]]:
    """Return the rows of a configuration in the table of shares, and the shares of time of its profiles."""
    work = Work(config, precision)
    seconds = {"training step": work.train(1 + N_STEPS), "prediction": fastest_when_warm(work.predict)}
    counts = {"training step": per_step(convolutions, work), "prediction": convolutions(work.predict)}
    profiles = {"training step": per_step(by_group, work), "prediction": by_group(work.predict)}
    rows, shares = [], {}
    for name, taken in seconds.items():
        arithmetic = sum(n * flop(key) for key, n in counts[name].items()) / 1e9
        alone = sum(n * seconds_alone(key) for key, n in counts[name].items())
        figures = (arithmetic, arithmetic / taken, arithmetic / alone)
        rows.append([name, f"{taken:.3g}", *(f"{figure:.0f}" for figure in figures), f"{100 * alone / taken:.0f}"])
        groups = [max(0.0, profiles[name][group]) for group in (*GROUPS, REST)]
        outside = max(0.0, taken - sum(groups))
        shares[name] = [part / (sum(groups) + outside) for part in (*groups, outside)]
    return rows, shares


def main() -> None:
    """Measure every configuration; write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=DEFAULT)
    parser.add_argument("--precisions", nargs="+", help="default: float32, and mixed where the processor has bfloat16")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is torch's own choice")
    options = parser.parse_args()
    if not os.environ.keys() >= KEEP_FREED_MEMORY.keys():  # glibc reads them when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_FREED_MEMORY)
    if options.threads:
        torch.set_num_threads(options.threads)
    automatic = resolve_precision("auto", torch.device("cpu"), is_image=True)
    precisions = options.precisions or list(dict.fromkeys(["float32", automatic]))
    shares_rows, profile_rows = [], []
    for name in options.configs:
        for precision in precisions:
            rows, shares = measure(CONFIGS[name], precision)
            shares_rows += [[name, precision, *row] for row in rows]
            profile_rows += [
                [name, precision, kind, *(f"{100 * part:.0f}" for part in parts)] for kind, parts in shares.items()
            ]
    tables = [
        reporting.table(["", "precision", "", "s", "GFLOP", "GFLOP/s", "ceiling, GFLOP/s", "share, %"], shares_rows),
        "Where the time goes, per cent:",
        reporting.table(["", "precision", "", *GROUPS, REST, OUTSIDE], profile_rows),
    ]
    reporting.write("ceiling", "\n\n".join([f"{torch.get_num_threads()} threads.", *tables]))


if __name__ == "__main__":
    main()
