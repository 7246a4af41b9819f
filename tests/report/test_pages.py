import pytest

from flowexpr.report.pages import signed


@pytest.mark.parametrize(
    ("value", "text"), [(-0.01, "+0.0"), (0.0, "+0.0"), (-0.06, "-0.1"), (2.25, "+2.2"), (-13.0, "-13.0")]
)
def test_what_rounds_to_zero_has_no_minus(value, text):
    assert signed(value, 1) == text
