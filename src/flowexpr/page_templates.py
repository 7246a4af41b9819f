"""The templates of pages: jinja's, in a folder `templates` of the package whose pages they are."""

from collections.abc import Callable
from typing import Any

import jinja2

__all__ = ["page_template"]


def page_template(package: str, name: str, **filters: Callable[..., Any]) -> jinja2.Template:
    """Return a template that escapes all it is given and refuses names that it is not given.

    Parameters
    ----------
    package : str
        The package that holds it.
    name : str
        Its file.
    **filters : callable
        What the template may call beside jinja's own filters.

    Returns
    -------
    template : jinja2.Template
        To be rendered.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name)
