"""The command: help, versions, and errors as one line with a status."""

import io
import subprocess
import sys

import pytest

import flowexpr
from flowexpr.cli import main

COMMANDS = ("demo", "prepare", "fit", "evaluate", "report", "predict", "explain", "doctor")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"    {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert "usage: flowexpr " + name in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"flowexpr {flowexpr.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["train"], ["fit"], ["predict", "model"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_error_is_one_line_without_a_traceback(capsys, tmp_path):
    assert main(["predict", str(tmp_path / "none"), "x.png"]) == 2
    text = capsys.readouterr().err
    assert text.startswith("flowexpr predict: expected a model file at ")
    assert text.count("\n") == 1


def test_ctrl_c_exits_with_130(monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("flowexpr.demo.run_demo", interrupt)
    assert main(["demo"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_module_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "flowexpr", "--version"], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == f"flowexpr {flowexpr.__version__}\n"


def test_doctor_tells_what_is_installed_and_used(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"flowexpr {flowexpr.__version__}" in text
    for name in ("torch", "numpy", "scikit-learn", "scipy", "matplotlib", "scikit-image"):
        assert name in text
    assert "precision      float32 for vectors" in text
    assert "a tiny flow    works" in text


def test_doctor_tells_what_is_missing(capsys, monkeypatch):
    from importlib.metadata import PackageNotFoundError, version

    from flowexpr.cli import doctor

    def without_matplotlib(name):
        if name == "matplotlib":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", without_matplotlib)
    main(["doctor"])
    assert "matplotlib     missing: pip install 'flowexpr[plot]'" in capsys.readouterr().out


def test_streams_take_what_their_encoding_lacks_and_nothing_where_they_are_closed(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setattr("flowexpr.demo.run_demo", lambda *args, **kwargs: print("±", flush=True) or 0)
    main(["demo"])
    assert written.getvalue() == b"\\xb1\n"
    monkeypatch.setattr(sys, "stdout", None)
    main(["demo"])
    sys.stdout.close()
