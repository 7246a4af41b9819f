"""``flowexpr fit``: train on a folder of images and save the model."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from sklearn.utils import Bunch

from flowexpr.classifier import FlowExpressionClassifier
from flowexpr.cli.options import (
    add_data_options,
    add_model_options,
    build_classifier,
    check_writable,
    command_parser,
    describe_faces,
    read_faces,
    time_and_memory,
    with_folder,
)

__all__ = ["add_parser"]

DETAILS = r"""examples:
  flowexpr fit CK+48 --subject '^(S\d+)' --clip '^(S\d+_\d+)' -o ck.flowexpr
  flowexpr fit jaffe --label '\.([A-Z]{2})\d' --subject '^([A-Z]{2})' --classes AN,DI,HA --crop face -o jaffe.flowexpr
  flowexpr fit recordings/manifest.csv --calibrate temperature -o mine.flowexpr

The model also keeps how the images were prepared, and none of the images. Ctrl-C saves what was learned so far.
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = command_parser(commands, "fit", "train on a folder of images and save the model", DETAILS)
    parser.add_argument("-o", "--output", required=True, metavar="MODEL", help="file to write")
    parser.add_argument(
        "--memmap",
        metavar="FILE.npy",
        help="keep the images in this file instead of in memory, and read them a batch at a time",
    )
    add_data_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    output = Path(options.output)
    check_writable(options.output, [options.folder])
    classifier = build_classifier(options, verbose=1)
    if options.memmap:
        check_writable(options.memmap, [options.folder], "--memmap")
    faces = read_faces(options, options.memmap)
    print(describe_faces(faces), flush=True)
    try:
        classifier.fit(faces.images, faces.target_names[faces.target], groups=faces.subject)
    except KeyboardInterrupt:
        if hasattr(classifier, "n_steps_"):
            _save(classifier, faces, output)
            print(f"flowexpr fit: interrupted; {output} holds what was learned so far.", file=sys.stderr)
            return 130
        raise
    _save(classifier, faces, output)
    print(_result(classifier, output))
    print(time_and_memory(began))
    return 0


def _save(classifier: FlowExpressionClassifier, faces: Bunch, output: Path) -> None:
    classifier.preprocessing_ = faces.preparation
    classifier.save(with_folder(output))


def _result(classifier: FlowExpressionClassifier, output: Path) -> str:
    last = classifier.history_[-1]
    seen = " as augmented" if classifier.augment else ""
    lines = [
        f"after epoch {last['epoch']} ({classifier.n_steps_} steps): {last['bits_per_dim']:.3f} bits/dim, class loss "
        f"{last['class_loss']:.3f} nats, accuracy on the training images{seen} {last['accuracy']:.1%}",
    ]
    if "val_accuracy" in last:
        lines.append(
            f"held out ({classifier.validation_}): {last['val_bits_per_dim']:.3f} bits/dim, class loss "
            f"{last['val_class_loss']:.3f} nats, accuracy {last['val_accuracy']:.1%}"
        )
    if classifier.calibrate:
        lines.append(f"temperature {classifier.temperature_:.3g}")
    lines.append("How well it does on other people: flowexpr evaluate, with the same options.")
    lines.append(f"saved {output} ({output.stat().st_size / 2**20:.1f} MiB)")
    return "\n".join(lines)
