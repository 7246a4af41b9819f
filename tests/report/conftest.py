"""An evaluation of tiny drawn images with hostile names, for pages of it."""

import numpy as np
import pytest

from flowexpr.baselines import pca_lda
from flowexpr.evaluation import evaluate

EVIL = "<script>window.broken = 1</script>"


@pytest.fixture(scope="session")
def evaluated(draw_images, tiny):
    """Return images, names and a result of a linear model and a tiny flow, estimators kept; nothing may be changed."""
    X, y = draw_images(n=48)
    labels = np.array([EVIL, "fear & joy", "neutral"])[y]
    subject = np.array([f"S{i // 6} </script>{EVIL}" for i in range(48)])
    result = evaluate(
        {"linear": pca_lda(random_state=0), "flow": tiny()},
        X,
        labels,
        subject=subject,
        clip=np.arange(48) // 3,
        protocols=("random", "clip", "subject"),
        n_splits=2,
        return_estimators=True,
    )
    return X, [f"{i} {EVIL}.png" for i in range(48)], result


@pytest.fixture(scope="session")
def flow(evaluated):
    """Return the flow of the first fold by subject."""
    return evaluated[2].estimators["flow", "subject"][0]
