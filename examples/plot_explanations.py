"""
Why this expression and not another
===================================

A flow trained on drawn faces explains what it takes new people's faces for: evidence in nats, where in the face it
lies, and the nearest face that it would take for something else.
"""

# %%
# A flow that knows faces at rest
# -------------------------------
# With a class "neutral" among the labels, maps start from what the same face would look like at rest.

import matplotlib.pyplot as plt
import numpy as np

from flowexpr import FlowExpressionClassifier
from flowexpr.datasets import make_faces
from flowexpr.display import ExplanationDisplay

faces = make_faces(
    18, expressions=("happiness", "surprise"), neutral=True, n_clips=2, image_size=32, return_masks=True, random_state=0
)
X, y, subject = faces.images, faces.target_names[faces.target], faces.subject
new = subject >= 14


def mirror_half(images, generator):
    """Mirror about half of the images (n, H, W, C), left to right."""
    mirrored = generator.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


clf = FlowExpressionClassifier(
    n_flows=3,
    hidden_channels=48,
    head_n_flows=2,
    head_hidden_channels=48,
    batch_size=16,
    learning_rate=2e-3,
    augment=mirror_half,
    max_epochs=14,
    random_state=0,
)
clf.fit(X[~new], y[~new], groups=subject[~new])
print(f"accuracy on new people: {clf.score(X[new], y[new]):.2f}; guessing gives 0.33")

# %%
# One figure
# ----------
# Red is evidence for the predicted class, blue for the other. The strip below ends in the nearest face that the model
# takes for the other class, and the faces beside it are those of other people that are nearest in z'1. The smiles are
# those that the model recognises.

smiles = np.flatnonzero(new & (y == "happiness") & (faces.frame == 2))
smiles = smiles[clf.predict(X[smiles]) == "happiness"]
one = clf.explain(X[smiles[:1]], against="neutral", reference=(X[~new], y[~new], subject[~new]))[0]
ExplanationDisplay(one).plot()
plt.show()

# %%
# The sentence, and the parts that sum to it exactly:

print(one.text)
parts = one.parts
print(f"flows of h {np.round(parts.flows, 2)}, prior of z'1 {parts.latent_prior:.2f}, classes {parts.class_prior:.2f}")
print(f"together {parts.flows.sum() + parts.latent_prior + parts.class_prior:.4f} of {one.evidence:.4f} nats")

# %%
# Is it true?
# -----------
# Drawn faces come with the pixels that their action units move. How much of the evidence for the smile lies in them?

explained = clf.explain(X[smiles], against="neutral", counterfactual=False)
for face, mask in zip(explained, faces.action_unit_mask[smiles], strict=True):
    positive = face.pixel_map.clip(min=0)
    share, area = positive[mask].sum() / positive.sum(), mask.mean()
    print(f"{face.label}: {share:.0%} of the positive evidence lies in the {area:.0%} of the pixels that moved")
