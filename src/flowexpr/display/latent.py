"""The map of the latent space: z'1 in two dimensions, coloured by expression and by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from flowexpr.display.axes import COLOURS, MARKERS, panels, plain, require_matplotlib
from flowexpr.embedding import METHODS, embed, latents_of
from flowexpr.evaluation.clusters import cluster_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LatentSpaceDisplay"]


class LatentSpaceDisplay:
    """Latents in two dimensions, coloured by expression and, in a second panel, by subject.

    The paper's Figures 2 and 3: whether a cluster is a person, an expression, or an expression within a
    person. Colour and marker change together, so that groups can be told apart without seeing colour;
    subjects carry their name at the centre of their points besides.

    Parameters
    ----------
    embedding : array-like of shape (n_samples, 2)
        Places on the map.
    y : array-like of shape (n_samples,)
        Expressions.
    subject : array-like of shape (n_samples,) or None, default=None
        Subjects; None leaves the second panel out.
    method : str, default=""
        How the embedding was made, as written under the map.
    scores : list of dict or None, default=None
        What `flowexpr.evaluation.cluster_scores` says of the latents; written above the panels.

    Attributes
    ----------
    ax_ : ndarray of Axes
        One panel, or two where subjects are given.
    figure_ : Figure
        The figure they stand in.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from flowexpr.display import LatentSpaceDisplay
    >>> places = np.random.default_rng(0).normal(size=(8, 2))
    >>> display = LatentSpaceDisplay(places, ["anger", "fear"] * 4, subject=[1, 1, 1, 1, 2, 2, 2, 2])
    >>> len(display.plot(ax=Figure().add_subplot()).ax_)
    2
    """

    def __init__(
        self,
        embedding: ArrayLike,
        y: ArrayLike,
        *,
        subject: ArrayLike | None = None,
        method: str = "",
        scores: list[dict[str, Any]] | None = None,
    ):
        self.embedding = embedding
        self.y = y
        self.subject = subject
        self.method = method
        self.scores = scores

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        subject: ArrayLike | None = None,
        clip: ArrayLike | None = None,
        method: str = "tsne",
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> LatentSpaceDisplay:
        """Embed `estimator.transform(X)` and draw it.

        Parameters
        ----------
        estimator : FlowExpressionClassifier
            A fitted classifier, or any fitted transformer; of a pipeline, what goes into its last step. The flow's
            latents are those under the *predicted* class: true labels choose colours only.
        X : array-like of shape (n_samples, ...)
            Images.
        y : array-like of shape (n_samples,)
            Their expressions.
        subject : array-like of shape (n_samples,) or None, default=None
            Who is seen; adds the second panel, and to both how the latents (not their map) cluster.
        clip : array-like of shape (n_samples,) or None, default=None
            The recording, whose frames are then not counted as neighbours of each other.
        method : {"tsne", "umap", "pca"}, default="tsne"
            t-SNE and UMAP (which needs umap-learn) keep neighbours together, but their distances between clusters
            and sizes of clusters mean nothing; PCA keeps the large directions.
        random_state : int, RandomState instance or None, default=None
            Seed of the embedding.
        ax : Axes, sequence of Axes or None, default=None
            One axes is divided into the panels; None makes a new figure.

        Returns
        -------
        display : LatentSpaceDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `method` is unknown, lengths differ, or there are fewer than 5 images.
        ImportError
            If matplotlib, or umap-learn where it is asked for, is not installed.
        """
        check_consistent_length(X, y, subject)
        latents = latents_of(estimator, np.asarray(X))
        embedding = embed(latents, method, random_state)
        scores = None if subject is None else cluster_scores(latents, y, subject=subject, clip=clip)
        text = f"{METHODS[method]} of {latents.shape[1]} latent values"
        return cls(embedding, y, subject=subject, method=text, scores=scores).plot(ax)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        X: ArrayLike,
        y: ArrayLike,
        *,
        subject: ArrayLike | None = None,
        clip: ArrayLike | None = None,
        method: str = "tsne",
        random_state: int | np.random.RandomState | None = None,
    ) -> dict[str, LatentSpaceDisplay]:
        """Draw the maps of several estimators in one new figure, a row each: the flow beside the CNN, say.

        Parameters
        ----------
        estimators : dict of str to fitted estimator
            What to draw, and how it is named.
        X, y, subject, clip, method, random_state
            As in `from_estimator`.

        Returns
        -------
        displays : dict of str to LatentSpaceDisplay
            The displays, drawn; they share one `figure_`.

        Raises
        ------
        ValueError, ImportError
            As in `from_estimator`.
        """
        require_matplotlib("LatentSpaceDisplay.from_estimators")
        from matplotlib import pyplot as plt

        n_panels = 1 if subject is None else 2
        figure = plt.figure(figsize=(6.0 * n_panels, 5.9 * len(estimators)), layout="constrained")
        parts = figure.subfigures(len(estimators), 1, squeeze=False).ravel()
        displays = {}
        for part, (name, estimator) in zip(parts, estimators.items(), strict=True):
            part.suptitle(name, fontsize="x-large")
            displays[name] = cls.from_estimator(
                estimator,
                X,
                y,
                subject=subject,
                clip=clip,
                method=method,
                random_state=random_state,
                ax=part.add_subplot(),
            )
        return displays

    def plot(self, ax: Axes | Sequence[Axes] | None = None) -> LatentSpaceDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : Axes, sequence of Axes or None, default=None
            One axes is divided into the panels; None makes a new figure.

        Returns
        -------
        display : LatentSpaceDisplay
            The display itself.

        Raises
        ------
        ValueError
            If the embedding is not two-dimensional, or lengths differ.
        ImportError
            If matplotlib is not installed.
        """
        check_consistent_length(self.embedding, self.y, self.subject)
        if np.ndim(self.embedding) != 2 or np.shape(self.embedding)[1] != 2:
            raise ValueError(
                f"embedding was expected to hold two coordinates a sample, but has shape {np.shape(self.embedding)}."
            )
        n_panels = 1 if self.subject is None else 2
        self.ax_ = panels("LatentSpaceDisplay.plot", ax, (1, n_panels), (6.0 * n_panels, 5.6))
        self.figure_ = self.ax_[0].figure.figure  # of a subfigure, the whole
        expressions = np.asarray(self.y)
        self._scatter(self.ax_[0], expressions)
        self.ax_[0].set_title(self._title("expression", "expression within subject"))
        n_classes = len(np.unique(expressions))
        self.ax_[0].legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.06),
            ncols=n_classes if n_classes <= 4 else -(-n_classes // 2),
            frameon=False,
            markerscale=1.5,
        )
        if self.subject is not None:
            subjects = np.asarray(self.subject)
            self._scatter(self.ax_[1], subjects)
            self._name_groups(self.ax_[1], subjects)
            self.ax_[1].set_title(self._title("subject"))
        for panel in self.ax_:
            panel.set(xticks=[], yticks=[], xlabel=self.method)
            panel.title.set_fontsize("medium")
            panel.spines[:].set_color("0.8")
        return self

    def _title(self, *groups: str) -> str:
        """Name a panel and, where they are known, write the scores of its groups."""
        lines = [f"by {groups[0]}"]
        for row in self.scores or []:
            if row["groups"] in groups and row["purity"] is not None:
                of = "" if row["groups"] == groups[0] else "within subjects: "
                lines.append(f"{of}neighbour alike {row['purity']:.0%} (chance {row['chance']:.0%})")
                if row["silhouette"] is not None:
                    lines[-1] += f", silhouette {row['silhouette']:.2f}"
        return "\n".join(lines)

    def _scatter(self, panel: Axes, groups: np.ndarray) -> None:
        for i, name in enumerate(np.unique(groups)):
            places = np.asarray(self.embedding)[groups == name]
            panel.scatter(
                places[:, 0],
                places[:, 1],
                s=16,
                color=COLOURS[i % len(COLOURS)],
                marker=MARKERS[i % len(MARKERS)],
                linewidths=0,
                alpha=0.85,
                label=plain(name),
            )

    def _name_groups(self, panel: Axes, groups: np.ndarray) -> None:
        """Write each subject's name onto one of its points, the one nearest to the median of all."""
        from matplotlib.patheffects import withStroke

        for name in np.unique(groups):
            places = np.asarray(self.embedding)[groups == name]
            distance = np.linalg.norm(places - np.median(places, axis=0), axis=1)
            panel.annotate(
                plain(name),
                places[distance.argmin()],
                ha="center",
                va="center",
                fontsize="small",
                fontweight="bold",
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
