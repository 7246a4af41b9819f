"""From image files to face arrays: reading, cropping, resizing, the same way for training and prediction."""

from flowexpr.faces.preparation import FacePreparation
from flowexpr.faces.reading import find_images, read_image

__all__ = ["FacePreparation", "find_images", "read_image"]
