"""
New people or known people: folds by subject
============================================

Frames of one clip look alike. If folds are drawn at random over frames, the neighbours of a test frame stand in the
training set, and a model that learns faces by heart does well. Folds by subject ask the harder question: what about
somebody new? The two numbers are of different things, so report both, and say which is which.
"""

# %%
# Drawn faces
# -----------
# 26 people show three expressions, one clip of three frames each.

import time

import matplotlib.pyplot as plt
import numpy as np
import sklearn
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score, cross_validate

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import pca_lda
from flowexpr.datasets import make_faces
from flowexpr.display import FacesDisplay

faces = make_faces(
    26,
    expressions=("anger", "fear", "sadness"),
    n_clips=1,
    n_frames=3,
    image_size=24,
    random_state=0,
)
X, y, subject = faces.images, faces.target_names[faces.target], faces.subject
print(f"{len(X)} frames of {len(np.unique(subject))} people")

display = FacesDisplay.from_images(X, y, subject=subject)
display.ax_.set_xlabel("a column is one person")
plt.show()

# %%
# Two models, two protocols
# -------------------------
# A flow, small enough for a minute, beside a linear baseline on the principal components of the pixels. The baseline
# costs next to nothing, so a flow that is not above it has not earned its time yet. Faces may be mirrored while
# training; the augmentation says so.


def mirror_half(images, generator):
    """Mirror about half of the images (n, H, W, C), left to right."""
    mirrored = generator.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


flow = FlowExpressionClassifier(
    n_flows=3,
    hidden_channels=64,
    head_n_flows=2,
    head_hidden_channels=64,
    batch_size=16,
    learning_rate=2e-3,
    augment=mirror_half,
    max_epochs=8,
    random_state=0,
)
models = {"linear": pca_lda(random_state=0), "flow": flow}
scores = {}
for protocol in ("random", "subject"):
    for name, model in models.items():
        start = time.perf_counter()
        if protocol == "random":
            found = cross_val_score(model, X, y, cv=StratifiedKFold(3, shuffle=True, random_state=0))
        else:
            found = cross_val_score(model, X, y, groups=subject, cv=GroupKFold(3))
        scores[protocol, name] = found
        seconds = time.perf_counter() - start
        print(f"{protocol:8s} {name:7s} {found.mean():.1%}  folds {found.round(3)}  {seconds:4.1f} s")

# %%

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for shift, (name, colour) in zip((-0.12, 0.12), (("linear", "#D55E00"), ("flow", "#0072B2")), strict=True):
    for place, protocol in enumerate(("random", "subject")):
        found = scores[protocol, name]
        label = name if place == 0 else None
        ax.plot(found, np.full(len(found), place + shift), "o", color=colour, alpha=0.5, markersize=7)
        ax.plot(found.mean(), place + shift, "|", color=colour, markersize=22, markeredgewidth=3, label=label)
ax.axvline(1 / 3, color="0.6", linestyle=":")
ax.text(1 / 3, 1.01, "guessing", color="0.4", ha="center", va="bottom", transform=ax.get_xaxis_transform())
ax.set_yticks([0, 1], ["random folds:\nknown people", "folds by subject:\nnew people"])
ax.set(xlim=(0.2, 1.02), ylim=(1.5, -0.5), xlabel="accuracy; dots are folds, bars their means")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), labelspacing=1.5)
plt.show()

# %%
for name in models:
    gap = 100 * (scores["random", name].mean() - scores["subject", name].mean())
    print(f"{name}: random folds are {gap:.0f} points above folds by subject")

# %%
# Nothing changed but the folds. On random folds both models are seldom wrong, since both know the people. By subject
# both lose much, and they change places: random folds may even hide which model is the better one. How far apart models
# lie depends on the expressions and on the number of people: one set of drawn faces ranks nothing.

# %%
# Groups inside ``fit``
# ---------------------
# ``groups=`` above goes to the *splitter*. It does not reach ``fit``. But ``fit`` may hold out rows of its own, for
# early stopping or for calibration, and those leak in the same way unless it knows the subjects. There are two ways to
# pass them on, and both give the same result.
#
# **By** ``params``: scikit-learn cuts them to the rows of every training fold.

watched = sklearn.clone(flow).set_params(validation_fraction=0.2, max_epochs=2)
found = cross_validate(
    watched, X, y, groups=subject, cv=GroupKFold(3), params={"groups": subject}, return_estimator=True
)
print("held out inside fit:", [fold.validation_ for fold in found["estimator"]], found["test_score"].round(3))

# %%
# **By metadata routing**, where every consumer says what it wants. ``GroupKFold`` asks for groups by itself; the
# classifier asks by ``set_fit_request``. Now ``params`` feeds both, and ``groups=`` is not used any more.

with sklearn.config_context(enable_metadata_routing=True):
    routed = sklearn.clone(watched).set_fit_request(groups=True)
    found_by_routing = cross_validate(routed, X, y, cv=GroupKFold(3), params={"groups": subject}, return_estimator=True)
print("held out inside fit:", [fold.validation_ for fold in found_by_routing["estimator"]])
print("the same scores:", bool((found["test_score"] == found_by_routing["test_score"]).all()))

# %%
# Without either, ``fit`` holds out rows at random, and says so:

found = cross_validate(watched, X, y, groups=subject, cv=GroupKFold(3), return_estimator=True)
print("held out inside fit:", [fold.validation_ for fold in found["estimator"]])

# %%
# ``sklearn.set_config(enable_metadata_routing=True)`` switches routing on for a whole session, and ``cross_val_score``,
# ``cross_val_predict`` and ``GridSearchCV.fit`` take groups in the same two ways. ``flowexpr.evaluation.evaluate`` does
# all of this in one call, for several models on the same folds.
