"""The map of the latent space: z'1 in two dimensions, coloured by expression and by subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import check_consistent_length

from flowexpr.display.axes import COLOURS, MARKERS, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LatentSpaceDisplay", "embed"]


class LatentSpaceDisplay:
    """Latents in two dimensions, coloured by expression and, in a second panel, by subject.

    The paper's Figures 2 and 3: whether a cluster is a person, an expression, or an expression within a
    person. Colour and marker change together, so that groups can be told apart without seeing colour;
    subjects carry their name at the centre of their points besides.

    Parameters
    ----------
    embedding : ndarray of shape (n_samples, 2)
        Places on the map.
    y : array-like of shape (n_samples,)
        Expressions.
    subject : array-like of shape (n_samples,) or None, default=None
        Subjects; None leaves the second panel out.
    method : str, default=""
        How the embedding was made, as written under the map.

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

    def __init__(self, embedding: np.ndarray, y: ArrayLike, *, subject: ArrayLike | None = None, method: str = ""):
        self.embedding = embedding
        self.y = y
        self.subject = subject
        self.method = method

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        subject: ArrayLike | None = None,
        method: str = "tsne",
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> LatentSpaceDisplay:
        """Embed `estimator.transform(X)` and draw it.

        Parameters
        ----------
        estimator : FlowExpressionClassifier
            A fitted classifier, or any fitted transformer. The flow's latents are those under the *predicted*
            class: true labels choose colours only.
        X : array-like of shape (n_samples, ...)
            Images.
        y : array-like of shape (n_samples,)
            Their expressions.
        subject : array-like of shape (n_samples,) or None, default=None
            Who is seen; adds the second panel.
        method : {"tsne", "pca"}, default="tsne"
            t-SNE keeps neighbours together, but its distances between clusters and their sizes mean nothing;
            PCA keeps the large directions.
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
            If matplotlib is not installed.
        """
        check_consistent_length(X, y, subject)
        if method not in ("tsne", "pca"):
            raise ValueError(f'method should be "tsne" or "pca", but is {method!r}.')
        latents = np.asarray(estimator.transform(X), dtype=np.float32)
        embedding = embed(latents, method, random_state)
        name = {"tsne": "t-SNE", "pca": "principal components"}[method]
        return cls(embedding, y, subject=subject, method=f"{name} of {latents.shape[1]} latent values").plot(ax)

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
        ImportError
            If matplotlib is not installed.
        """
        n_panels = 1 if self.subject is None else 2
        self.ax_ = panels("LatentSpaceDisplay.plot", ax, (1, n_panels), (6.0 * n_panels, 5.6))
        self.figure_ = self.ax_[0].figure
        expressions = np.asarray(self.y)
        self._scatter(self.ax_[0], expressions)
        self.ax_[0].set_title("by expression")
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
            self.ax_[1].set_title("by subject")
        for panel in self.ax_:
            panel.set(xticks=[], yticks=[], xlabel=self.method)
            panel.spines[:].set_color("0.8")
        return self

    def _scatter(self, panel: Axes, groups: np.ndarray) -> None:
        for i, name in enumerate(np.unique(groups)):
            places = self.embedding[groups == name]
            panel.scatter(
                places[:, 0],
                places[:, 1],
                s=16,
                color=COLOURS[i % len(COLOURS)],
                marker=MARKERS[i % len(MARKERS)],
                linewidths=0,
                alpha=0.85,
                label=str(name),
            )

    def _name_groups(self, panel: Axes, groups: np.ndarray) -> None:
        """Write each subject's name onto one of its points, the one nearest to the median of all."""
        from matplotlib.patheffects import withStroke

        for name in np.unique(groups):
            places = self.embedding[groups == name]
            distance = np.linalg.norm(places - np.median(places, axis=0), axis=1)
            panel.annotate(
                str(name),
                places[distance.argmin()],
                ha="center",
                va="center",
                fontsize="small",
                fontweight="bold",
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )


def embed(latents: np.ndarray, method: str, random_state: int | np.random.RandomState | None) -> np.ndarray:
    """Bring latents to two dimensions.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, n_values)
        At least 5 of them.
    method : {"tsne", "pca"}
        As in `LatentSpaceDisplay.from_estimator`.
    random_state : int, RandomState instance or None
        Seed of the embedding.

    Returns
    -------
    places : ndarray of shape (n_samples, 2)
        Places on the map.

    Raises
    ------
    ValueError
        If there are fewer than 5 latents.
    """
    if len(latents) < 5:
        raise ValueError(f"A map needs at least 5 images, but X has {len(latents)}.")
    n_components = 2 if method == "pca" else min(50, *latents.shape)
    components = PCA(n_components, random_state=random_state).fit_transform(latents)
    if method == "pca":
        return components
    # The usual 50 components before t-SNE: noise goes, neighbours stay. Perplexity counts neighbours.
    perplexity = min(30.0, (len(latents) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=random_state).fit_transform(components)
