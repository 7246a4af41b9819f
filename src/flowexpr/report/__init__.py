"""One self-contained page of an evaluation: tables, charts, an explorable latent map, and a model card.

The page opens from a file, asks nothing of any network, and holds no image of a face unless it is told to.
"""

from flowexpr.report.build import build

__all__ = ["build"]
