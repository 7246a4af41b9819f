"""Why the model says one class and not another: exact evidence, maps, counterfactuals, neighbours and a sentence.

`flowexpr.FlowExpressionClassifier.explain` is the way in; it returns an `Explanation` for every sample.
"""

from flowexpr.explain.attributions import attribute
from flowexpr.explain.counterfactual import Counterfactual
from flowexpr.explain.evidence import EvidenceParts
from flowexpr.explain.explanation import Explanation
from flowexpr.explain.neighbours import Neighbour, ReferenceFaces
from flowexpr.explain.request import encode_reference

__all__ = [
    "Counterfactual",
    "EvidenceParts",
    "Explanation",
    "Neighbour",
    "ReferenceFaces",
    "attribute",
    "encode_reference",
]
