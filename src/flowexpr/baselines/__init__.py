"""Classifiers to hold the flow against: on pixels, on gradients, and the paper's convolutional network."""

from flowexpr.baselines.cnn import CNNExpressionClassifier
from flowexpr.baselines.linear import PixelPCA, pca_lda
from flowexpr.baselines.svm import HOGFeatures, hog_svm, pca_svm

__all__ = ["CNNExpressionClassifier", "HOGFeatures", "PixelPCA", "hog_svm", "pca_lda", "pca_svm"]
