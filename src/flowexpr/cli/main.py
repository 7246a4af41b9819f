"""The entry point of the command: parse, run the sub-command, and turn errors into one line each."""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence

from flowexpr import __version__
from flowexpr.cli import demo, doctor, evaluate, explain, fit, predict, prepare, report
from flowexpr.exceptions import TrainingDivergedError

__all__ = ["main"]

DESCRIPTION = """\
Recognise facial expressions with a normalizing flow trained on your own images.

  flowexpr doctor                                        what is installed, what would be used
  flowexpr demo                                          everything at once, on faces that are drawn
  flowexpr prepare RECORDINGS --segments CSV -o FOLDER   cut faces out of videos and photographs
  flowexpr evaluate FOLDER --subject '^(S\\d+)'           how well it does on people it never saw
  flowexpr report RESULT.json -o report.html             that evaluation as a page
  flowexpr fit FOLDER --subject '^(S\\d+)' -o MODEL       train on all of FOLDER and save
  flowexpr predict MODEL IMAGES... -o out.csv            expressions of new images
  flowexpr explain MODEL IMAGE -o out.png                why it says so of one image, as a figure
"""

EPILOG = "'flowexpr COMMAND --help' tells the options of a command, with examples."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``flowexpr``.

    Parameters
    ----------
    arguments : sequence of str, default=None
        What follows the command's name; None takes the process's arguments.

    Returns
    -------
    status : int
        0, or 1 where nothing could be done for any input, 2 for wrong input, 130 after Ctrl-C.
    """
    _make_writable()
    options = _parser().parse_args(arguments)
    usual, warnings.formatwarning = warnings.formatwarning, _as_a_line
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("flowexpr: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError, TrainingDivergedError) as error:
        print(f"flowexpr {options.command}: {error}", file=sys.stderr)
        return 2
    finally:
        warnings.formatwarning = usual


def _make_writable() -> None:
    """Let the streams take whatever is written: labels that their encoding lacks, and where one is closed, nothing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (until the process ends)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _as_a_line(message: Warning | str, *_: object, **__: object) -> str:
    """Return a warning without the line of code that gave it, which tells nothing to who calls from the shell."""
    return f"flowexpr: {message}\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "flowexpr", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"flowexpr {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (demo, prepare, fit, evaluate, report, predict, explain, doctor):
        module.add_parser(commands)
    return parser
