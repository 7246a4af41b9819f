"""All benchmarks, one after another, each in a process of its own that writes its page of the documentation.

    python benchmarks [--only NAME ...] [--data FOLDER[:LAYOUT] ...] [--jaffe FOLDER] [--rosinality PATH] [--keep DIR]

Without further arguments those run that need nothing from outside: drawn faces and tables that come with scikit-learn.
``--data`` names data sets of faces, as in setting.py, CK+48 for morphs among them; ``--jaffe`` JAFFE's own folder, for
the detectors and the neutral faces (default: the first of the data sets that is JAFFE); ``--rosinality`` a checkout of
rosinality/glow-pytorch, for speed. Fits and models are kept in DIR, so that the same command goes on where it was
stopped. All of it takes days on a laptop; ``--list`` says what would run. What fails is told at the end, and the others
run all the same.
"""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

from setting import layout_of, split

HERE = Path(__file__).resolve().parent
WITHOUT_ARGUMENTS = (
    "vectors",
    "semi_supervised",
    "stability",
    "memory",
    "scaling",
    "ceiling",
    "loading",
    "video",
    "fuzz",
)


Run = tuple[str, list[str]]
"""A script and its arguments."""


def commands(options: argparse.Namespace) -> list[Run]:
    """Return every benchmark that can run with what is given; some run more than once, for a page each."""
    data, keep = options.data, options.keep
    resume, models = ["--resume", str(keep / "fits")], ["--models", str(keep / "models")]
    layouts = {argument: layout_of(argument) for argument in data}
    ck = [str(split(argument)[0]) for argument, layout in layouts.items() if layout == "ck+48"]
    jaffe = [str(split(argument)[0]) for argument, layout in layouts.items() if layout == "jaffe"]
    photographs = str(options.jaffe) if options.jaffe else next(iter(jaffe), None)
    runs: list[Run] = [(name, []) for name in WITHOUT_ARGUMENTS]
    runs += [(name, data) for name in ("exactness", "imbalance")]
    runs += [(name, [*data, *resume]) for name in ("probabilities", "tradeoff")]
    runs += [("neutral", [f"{photographs}:jaffe"] if photographs else [])]
    runs += [("explanation", [*data, *models]), ("morph", [*models, *(["--ck", ck[0]] if ck else [])])]
    runs += [("latent_space", [*given, "--keep", str(keep / "latents")]) for given in ([], *latent_pages(layouts))]
    if data:
        runs += [("accuracy", [*data, *resume])]
    if photographs:
        runs += [("faces", [photographs])]
    if options.rosinality:
        arguments = ["--rosinality", str(options.rosinality.resolve())]
        runs += [("speed", arguments), ("speed", [*arguments, "--keep-freed-memory"])]
    return runs


def latent_pages(layouts: dict[str, str | None]) -> list[list[str]]:
    """Return the arguments of latent_space for every data set: a page each, of a name of its own."""
    pages: list[str] = []
    for argument, layout in layouts.items():
        known = {"ck+48": "ck", "jaffe": "jaffe"}.get(layout or "")
        name = known or re.sub(r"\W+", "_", split(argument)[0].resolve().name.lower()).strip("_")
        pages.append(name if name not in pages else f"{name}_{len(pages) + 1}")
    return [[argument, "--page", f"latent_space_{page}"] for argument, page in zip(layouts, pages, strict=True)]


def main() -> int:
    """Run them; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these benchmarks alone")
    parser.add_argument("--data", nargs="+", default=[], metavar="FOLDER[:LAYOUT]", help="data sets of faces")
    parser.add_argument("--jaffe", type=Path, metavar="FOLDER", help="JAFFE's photographs")
    parser.add_argument("--rosinality", type=Path, metavar="PATH", help="a checkout of rosinality/glow-pytorch")
    parser.add_argument("--keep", type=Path, default=Path("benchmark-fits"), metavar="DIR", help="where fits are kept")
    parser.add_argument("--list", action="store_true", help="say what would run, and run nothing")
    options = parser.parse_args()
    runs = commands(options)
    possible = dict.fromkeys(name for name, _ in runs)
    unknown = sorted(set(options.only or []) - set(possible))
    if unknown:
        parser.error(
            f"{', '.join(unknown)}: unknown, or in need of --data, --jaffe or --rosinality. Pass some of "
            f"{', '.join(possible)}."
        )
    failed = []
    for name, given in runs:
        if options.only and name not in options.only:
            continue
        print(f"== python benchmarks/{name}.py {shlex.join(given)}", flush=True)
        if not options.list and subprocess.run([sys.executable, HERE / f"{name}.py", *given]).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
