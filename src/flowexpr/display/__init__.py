"""Pictures of a fitted classifier, in the manner of scikit-learn's displays.

Every display has `plot(ax=None)`, `ax_` and `figure_`, and `from_estimator` where an estimator tells what it shows.
Importing this module does not import matplotlib; plotting does, and says what to install where it is missing.
"""

from flowexpr.display.explanation import ExplanationDisplay
from flowexpr.display.faces import FacesDisplay
from flowexpr.display.latent import LatentSpaceDisplay
from flowexpr.display.morph import MorphDisplay
from flowexpr.display.reliability import ReliabilityDisplay
from flowexpr.display.timeline import TimelineDisplay
from flowexpr.display.training import TrainingDisplay

__all__ = [
    "ExplanationDisplay",
    "FacesDisplay",
    "LatentSpaceDisplay",
    "MorphDisplay",
    "ReliabilityDisplay",
    "TimelineDisplay",
    "TrainingDisplay",
]
