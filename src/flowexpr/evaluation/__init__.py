"""Cross-validation that says what it measures: the same folds for every estimator, by frame, clip or subject.

Random folds over video frames put neighbours of a test frame into the training set, so the number they give
says how well a classifier recognises *these people in these clips*. Folds grouped by subject say how well it
does on somebody new. Both are reported beside each other.
"""

from flowexpr.evaluation.clusters import cluster_scores
from flowexpr.evaluation.latent_table import latent_table
from flowexpr.evaluation.protocols import LeakageError
from flowexpr.evaluation.result import EvaluationResult, FoldScore, Predictions
from flowexpr.evaluation.run import evaluate

__all__ = [
    "EvaluationResult",
    "FoldScore",
    "LeakageError",
    "Predictions",
    "cluster_scores",
    "evaluate",
    "latent_table",
]
