"""scikit-learn's callbacks where they are installed (1.9 and later), and nothing where they are not."""

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn's mixin, without callbacks."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "EpochCallbacks", "with_callbacks"]


class EpochCallbacks:
    """Tells the callbacks of an estimator of every epoch.

    Parameters
    ----------
    estimator : FlowExpressionClassifier
        Being fitted.
    X, y : array-like
        The training data, as they were given.
    max_epochs : int
        Number of epochs, at most.
    fitted_attributes : callable
        Returns what a copy of the estimator needs to predict as of now; called only if a callback asks.
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, max_epochs: int, fitted_attributes: Callable[[], dict[str, Any]]
    ) -> None:
        self.estimator = estimator
        self.X, self.y = X, y
        self.fitted_attributes = fitted_attributes
        self.context = None
        if hasattr(estimator, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=max_epochs)
            self.context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
        self.epoch: Any = None

    def begin_epoch(self) -> None:
        """Announce an epoch."""
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, X=self.X, y=self.y)

    def end_epoch(self) -> bool:
        """Announce the end of an epoch; return whether a callback wants training to stop."""
        if self.context is None:
            return False
        return self.epoch.call_on_fit_task_end(
            estimator=self.estimator, X=self.X, y=self.y, reconstruction_attributes=self.fitted_attributes
        )

    def end(self) -> None:
        """Announce the end of fit."""
        if self.context is not None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator, X=self.X, y=self.y, reconstruction_attributes=self.fitted_attributes
            )
