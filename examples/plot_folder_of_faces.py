r"""
From a folder of images to a saved model
========================================

Image files in sub-folders named by expression become arrays, a model, predictions for people it never saw, and a file
that can be loaded elsewhere. The same goes from the shell, without a line of Python; that stands at the end.
"""

# %%
# A folder
# --------
# Your own recordings look like this, or can be made to: a sub-folder for every expression, and file names that say who
# is seen and in which clip. Here drawn faces are written into a temporary folder, so that the example runs anywhere.

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.model_selection import GroupShuffleSplit

import flowexpr
from flowexpr.datasets import load_faces, make_faces

temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name, "recordings")

drawn = make_faces(
    24,
    expressions=("anger", "sadness", "surprise"),
    n_clips=1,
    n_frames=3,
    image_size=32,
    random_state=0,
)
for image, target, subject, clip, frame in zip(
    drawn.images, drawn.target, drawn.subject, drawn.clip, drawn.frame, strict=True
):
    path = folder / drawn.target_names[target] / f"S{subject:02d}_{clip:03d}_{frame + 1:08d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)

files = sorted(folder.glob("*/*.png"))
print(f"{len(files)} files, such as")
for path in files[:4]:
    print("  ", path.relative_to(folder))

# %%
# Reading it
# ----------
# The label is the name of the sub-folder. Subject and clip are found in the file name by regular expressions, of which
# the first group counts: ``S03`` and ``S03_012`` of ``S03_012_00000005.png``. Names that do not match are an error, not
# a guess.

faces = load_faces(folder, subject=r"^(S\d+)", clip=r"^(S\d+_\d+)")
X, y = faces.images, faces.target_names[faces.target]
print(f"images {X.shape} {X.dtype}, expressions {[str(name) for name in faces.target_names]}")
print(f"{len(np.unique(faces.subject))} subjects, {len(np.unique(faces.clip))} clips")
print("first row:", y[0], faces.subject[0], faces.clip[0], faces.frame[0])

# %%
# Fit on some people, predict for others
# --------------------------------------
# The people are split, not the images. ``groups`` tells ``fit`` who is seen: should it hold out rows for validation or
# calibration, it holds out whole people.

training, test = next(GroupShuffleSplit(1, test_size=0.25, random_state=0).split(X, y, faces.subject))
model = flowexpr.FlowExpressionClassifier(
    hidden_channels=64,
    head_hidden_channels=64,
    batch_size=16,
    learning_rate=2e-3,
    max_epochs=8,
    random_state=0,
)
start = time.perf_counter()
model.fit(X[training], y[training], groups=faces.subject[training])
print(f"fitted on {len(np.unique(faces.subject[training]))} people in {time.perf_counter() - start:.0f} s")

predicted = model.predict(X[test])
probability = model.predict_proba(X[test]).max(axis=1)
print(f"accuracy on {len(np.unique(faces.subject[test]))} new people: {np.mean(predicted == y[test]):.1%}")

# %%
# One frame of every clip of the new people: above it what the model takes it for and how probable it finds that, below
# it the truth.

_, first_frames = np.unique(faces.clip[test], return_index=True)
figure, axes = plt.subplots(3, 6, figsize=(9, 5.6), layout="constrained")
for ax, row in zip(axes.ravel(), first_frames, strict=True):
    right = predicted[row] == y[test][row]
    ax.imshow(X[test][row])
    colour = "#009E73" if right else "#D55E00"
    ax.set(xticks=[], yticks=[], xlabel=f"{faces.subject[test][row]}, {y[test][row]}")
    ax.spines[:].set(color=colour, linewidth=3)
    ax.set_title(f"{predicted[row]} {probability[row]:.2f}", fontsize="medium", color=colour)
plt.show()

# %%
# Save and load
# -------------
# The file holds tensors and JSON, nothing pickled, and no images.

file = Path(temporary.name, "model.flowexpr")
model.save(file)
same = flowexpr.load(file)
print(f"{file.name}: {file.stat().st_size / 2**20:.1f} MiB")
print("predicts the same:", bool((same.predict(X[test]) == predicted).all()))

temporary.cleanup()

# %%
# The same from the shell
# -----------------------
# Train on everything and save; cross-validate; predict the expressions of other files:
#
# .. code-block:: console
#
#    $ flowexpr fit recordings --subject '^(S\d+)' -o model.flowexpr
#    $ flowexpr evaluate recordings --subject '^(S\d+)'
#    $ flowexpr predict model.flowexpr new/*.png -o out.csv
#
# ``evaluate`` prints accuracies on random folds and by subject, beside those of a linear baseline. ``out.csv`` has a
# row a file: the predicted expression, the probability of each, log p(x), and in the column ``error`` why a file could
# not be read. The model remembers how the images were resized and cropped when it was trained, so ``predict`` takes
# files of any size.
