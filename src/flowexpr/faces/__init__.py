"""From recordings and image files to face arrays, the same way for training and prediction."""

from flowexpr.faces.cropping import Source
from flowexpr.faces.dataset import prepare_faces
from flowexpr.faces.detectors import find_faces, make_detector
from flowexpr.faces.face import Face, crop_face
from flowexpr.faces.manifest import Row
from flowexpr.faces.preparation import FacePreparation
from flowexpr.faces.reading import find_images, read_image
from flowexpr.faces.tables import Fix, Segment, read_boxes, read_fixes, read_segments
from flowexpr.faces.tracking import TrackedFrame, track_face
from flowexpr.faces.video import VideoFrame, read_frames

__all__ = [
    "Face",
    "FacePreparation",
    "Fix",
    "Row",
    "Segment",
    "Source",
    "TrackedFrame",
    "VideoFrame",
    "crop_face",
    "find_faces",
    "find_images",
    "make_detector",
    "prepare_faces",
    "read_boxes",
    "read_fixes",
    "read_frames",
    "read_image",
    "read_segments",
    "track_face",
]
