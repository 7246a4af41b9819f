"""The errors of flowexpr that scikit-learn and Python have no name for."""

__all__ = ["ModelFileError", "TrainingDivergedError", "UnreadableImageError"]


class ModelFileError(ValueError):
    """A model file is truncated, was changed, or was written by a newer flowexpr."""


class TrainingDivergedError(RuntimeError):
    """Training steps, or what they led to, were not finite; the message names the parameter to change."""


class UnreadableImageError(ValueError):
    """A file is missing, is no image, or is damaged; the message is the reason, without the path."""
