"""The site: MyST pages, an API reference from the docstrings, and the gallery, whose examples run when it is built."""

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import matplotlib
from docutils.nodes import SkipNode
from latex2mathml.converter import convert

from flowexpr import PAPER, FlowExpressionClassifier

matplotlib.use("Agg")

project = "flowexpr"
author = "The flowexpr developers"
project_copyright = author
version = release = installed_version("flowexpr")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "generated/settings.md", "benchmarks"]
templates_path = ["_templates"]
language = "en"

# Pages
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
html_theme = "furo"
html_title = f"flowexpr {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
pygments_style = "tango"

# Reference
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "run_stale_examples": True,  # the library may have changed although the example has not
    "capture_repr": (),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "backreferences_dir": "generated/gallery",
    "doc_module": ("flowexpr",),
    "write_computation_times": False,
}


SETTINGS = {
    "n_blocks": "blocks of Glow",
    "n_flows": "flow steps a block",
    "hidden_channels": "width of the coupling networks of f",
    "head_n_flows": "flow steps of h",
    "head_hidden_channels": "width of the coupling networks of h",
    "class_loss_weight": "lambda of equation 6",
    "n_bits": "bits kept of a pixel",
    "batch_size": "images of a training step",
    "learning_rate": "its highest value",
    "schedule": "how it changes over the steps",
    "max_epochs": "passes over the training set",
    "weight_decay": "0 is Adam",
    "weight_averaging": "decay of the moving average of the weights",
    "label_smoothing": "share of the target spread over all classes",
    "augment": "random changes of the training images",
    "mirror_average": "decide on the image and its mirror image",
    "calibrate": "temperature on held-out rows",
}
"""What the table of settings on the page "Method" shows; the values come from the code."""


def write_settings(app):
    """Write the table of the paper's settings beside our defaults."""
    defaults = FlowExpressionClassifier().get_params()
    changed = [name for name, value in PAPER.items() if value != defaults[name]]
    unnamed = set(changed) - set(SETTINGS) - {"backbone"}  # "glow" is what the default becomes for images
    if unnamed:
        raise ValueError(f"SETTINGS in conf.py does not tell what {sorted(unnamed)} are.")
    rows = ["| parameter | what it is | the paper | default |", "|---|---|---|---|"]
    for name, text in SETTINGS.items():
        rows.append(f"| `{name}` | {text} | `{PAPER[name]!r}` | `{defaults[name]!r}` |")
    folder = Path(app.srcdir, "generated")
    folder.mkdir(exist_ok=True)
    (folder / "settings.md").write_text("\n".join(rows) + "\n", encoding="utf-8")


def link_citations(app, what, name, obj, options, lines):
    """Turn citations of the module's references into links, since a page shows one docstring and not the module's."""
    module = sys.modules.get(getattr(obj, "__module__", None) or "")
    if module is None or any(line.startswith(".. [") for line in lines):
        return
    links = {}
    for entry in re.findall(r"^\.\. \[\d+\] .*(?:\n   .*)*", module.__doc__ or "", re.MULTILINE):
        number, authors = re.match(r"\.\. \[(\d+)\] ([^,]*(?:, [^,\"]*)*),", entry).groups()
        year, url = re.search(r",\s+(\d{4}),\s+(https\S+)", entry).groups()
        links[number] = f"`[{authors}, {year}] <{url}>`__"
    lines[:] = [re.sub(r"\[(\d+)\]_", lambda cited: links.get(cited[1], cited[0]), line) for line in lines]


def escape_bars(app, what, name, obj, options, lines):
    """Let |det dz/dx| stand for what it is, where reStructuredText sees a substitution."""
    lines[:] = [re.sub(r"(?<!`)\|(det [^|`]*)\|", r"\\|\1\\|", line) for line in lines]


def write_inline_math(translator, node):
    """Write a formula as MathML, which browsers draw by themselves: no script, no font, no network."""
    translator.body.append(convert(node.astext()))
    raise SkipNode


def write_displayed_math(translator, node):
    """Write a displayed formula as MathML."""
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>\n')
    raise SkipNode


def setup(app):
    """Register the above."""
    app.connect("builder-inited", write_settings)
    app.connect("autodoc-process-docstring", link_citations, priority=100)
    app.connect("autodoc-process-docstring", escape_bars, priority=100)
    app.add_html_math_renderer("mathml", (write_inline_math, None), (write_displayed_math, None))
