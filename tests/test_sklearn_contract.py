"""scikit-learn's own checks: all of `parametrize_with_checks`, none expected to fail, and those it does not call."""

from unittest import SkipTest

import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from flowexpr import FlowExpressionClassifier

HEADS = ("conditional", "gmm")

NOT_CALLED = [
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_dataframe_column_names_consistency",
]


def run(check, *args):
    """Run a check; one that skips itself has checked nothing."""
    try:
        check(*args)
    except SkipTest as skipped:
        pytest.fail(f"skipped: {skipped}")


@parametrize_with_checks([FlowExpressionClassifier(head=head) for head in HEADS])
def test_with_default_parameters(estimator, check):
    run(check, estimator)


def test_default_precision_of_the_checks_is_float32(two_features):
    assert FlowExpressionClassifier(max_steps=1).fit(*two_features).precision_ == "float32"


@pytest.mark.slow
@parametrize_with_checks([FlowExpressionClassifier(head=head, precision="float64") for head in HEADS])
def test_in_float64(estimator, check):
    run(check, estimator)


@pytest.mark.parametrize("name", NOT_CALLED)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("precision", ["auto", "float32", "float64"])
# One of them fits on a data frame, transforms an array, and the other way round: StandardScaler warns there too.
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
def test_checks_that_are_not_called_by_default(name, head, precision):
    estimator = FlowExpressionClassifier(head=head, precision=precision, max_epochs=2)
    run(getattr(estimator_checks, name), "FlowExpressionClassifier", estimator)
