"""What every page is made with: templates that escape all they are given, and files that stand beside them."""

from importlib.resources import files

import jinja2

from flowexpr.page_templates import page_template
from flowexpr.report.plots import percent

__all__ = ["asset", "signed", "template"]


def template(name: str) -> jinja2.Template:
    """Return a template of this package."""
    return page_template("flowexpr.report", name, percent=percent, signed=signed)


def signed(value: float, digits: int) -> str:
    """Return a number with its sign; what rounds to zero has that of zero, "+0.0"."""
    return f"{value:+z.{digits}f}"


def asset(name: str) -> str:
    """Return a text file of this package, such as the style sheet."""
    return files("flowexpr.report").joinpath(name).read_text(encoding="utf-8")
