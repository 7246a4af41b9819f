"""build: one self-contained page of an evaluation, that opens without a network."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from flowexpr import __version__
from flowexpr.display.axes import MARKERS
from flowexpr.evaluation import EvaluationResult
from flowexpr.files import write_atomically
from flowexpr.report.explanations import explanation_section
from flowexpr.report.latent_map import map_section, trees_section
from flowexpr.report.material import Material, Section, gather
from flowexpr.report.model import card_section, training_section
from flowexpr.report.morphs import morph_section
from flowexpr.report.pages import asset, template
from flowexpr.report.plots import MARKER_PATHS
from flowexpr.report.reliability import rejection_section, reliability_section
from flowexpr.report.scores import confusion_section, leakage_section, people_section, scores_section
from flowexpr.report.setting import setting_section

__all__ = ["build"]

SECTIONS: tuple[Callable[[Material], Section | None], ...] = (
    setting_section,
    scores_section,
    confusion_section,
    people_section,
    leakage_section,
    reliability_section,
    rejection_section,
    map_section,
    trees_section,
    morph_section,
    explanation_section,
    training_section,
    card_section,
)
"""What makes the parts of the page, in their order; one that returns None is left out."""


def build(
    result: EvaluationResult,
    model: Any,
    path: str | os.PathLike[str],
    *,
    X: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    skipped: Sequence[tuple[str, str]] = (),
    latent_table: Any = None,
    embed_faces: bool = False,
    title: str = "Facial expression recognition",
    random_state: int = 0,
) -> Path:
    """Write a report of an evaluation: one HTML file that opens offline and asks nothing of any network.

    Parts for which nothing is given are left out, and the page says so: without `model` or `X` the latent map, the
    morphs and the explanations, without `model` the learning curves.

    Parameters
    ----------
    result : EvaluationResult
        What `flowexpr.evaluation.evaluate` returned.
    model : fitted classifier or None
        Whose map, morphs, learning curves and card are shown. Where it is one of `result.estimators`, the people whom
        it has not seen are marked.
    path : path-like
        The file to write; one that is there is replaced.
    X : array-like of shape (n_samples, ...) or None, default=None
        The samples that were evaluated, as given to `evaluate`. Of more than 2000, the map shows 2000.
    names : sequence of str of length n_samples or None, default=None
        What each sample is called, such as the name of its file; None numbers them. They stand in the page.
    skipped : sequence of (str, str), default=()
        Files that were left out, and why, as in `skipped` of `load_faces`.
    latent_table : DataFrame, list of dict or None, default=None
        What `flowexpr.evaluation.latent_table` returned, the paper's Table I: it takes minutes, so it is not made here.
    embed_faces : bool, default=False
        Put small copies of the faces, and morphs of some of them, into the page, which is personal data then: whoever
        gets the file can see them. Without it the page holds no image.
    title : str, default="Facial expression recognition"
        The page's heading.
    random_state : int, default=0
        Seed of the map, and of the choice of faces.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    ValueError
        If `result` holds no predictions, `X` or `names` are not as many as were evaluated, or `embed_faces` is set
        without `X`.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> from flowexpr import report
    >>> from flowexpr.baselines import pca_lda
    >>> from flowexpr.evaluation import evaluate
    >>> y = np.tile(["joy", "fear"], 20)
    >>> X = np.random.default_rng(0).normal(size=(40, 8, 8)) + (y == "joy")[:, None, None]
    >>> result = evaluate({"linear": pca_lda()}, X, y, subject=np.repeat(np.arange(10), 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = report.build(result, None, Path(folder, "report.html")).read_text(encoding="utf-8")
    >>> "<title>Facial expression recognition" in page
    True
    """
    material = gather(result, model, X, names, skipped, latent_table, embed_faces, random_state)
    sections = [section for make in SECTIONS if (section := make(material)) is not None]
    path = Path(path)
    # A file's name may hold bytes that are no text.
    write_atomically(path, _render(material, sections, title).encode("utf-8", errors="replace"))
    return path


def _render(material: Material, sections: list[Section], title: str) -> str:
    script = asset("map.js")
    return template("page.html").render(
        title=title,
        material=material,
        sections=sections,
        style=asset("style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        markers=MARKER_PATHS[: len(MARKERS)],
        version=__version__,
    )
