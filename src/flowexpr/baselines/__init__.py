"""Classifiers to hold the flow against: a linear one on principal components, and the paper's convolutional network."""

from flowexpr.baselines.cnn import CNNExpressionClassifier
from flowexpr.baselines.linear import PixelPCA, pca_lda

__all__ = ["CNNExpressionClassifier", "PixelPCA", "pca_lda"]
