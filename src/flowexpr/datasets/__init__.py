"""Faces to learn from: drawn ones (`make_faces`) and your own (`load_faces`)."""

from flowexpr.datasets._load_faces import load_faces
from flowexpr.datasets._make_faces import make_faces

__all__ = ["load_faces", "make_faces"]
