"""
Thermal images
==============

A thermal camera gives one number per pixel: degrees Celsius. flowexpr takes images within 0..1 (or 0..255), so the
temperatures have to be scaled, by **fixed numbers, the same for every image**. Scaling every image by its own minimum
and maximum throws the temperature away and keeps only the pattern. This example scales, fits, and shows what happens
where that is forgotten.
"""

# %%
# Stand-ins for thermal faces
# ---------------------------
# There are no thermal recordings in here. Drawn faces lend their grey levels: black becomes 22 degrees, white 37.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from flowexpr import FlowExpressionClassifier
from flowexpr.datasets import make_faces

faces = make_faces(
    24,
    expressions=("anger", "fear", "sadness"),
    n_clips=1,
    n_frames=3,
    image_size=24,
    random_state=0,
)
grey = faces.images.mean(axis=3) / 255
celsius = (22 + 15 * grey).astype(np.float32)
y, subject = faces.target_names[faces.target], faces.subject
print(f"{len(celsius)} images {celsius.shape[1:]}, {celsius.dtype}, {celsius.min():.1f} to {celsius.max():.1f} degrees")

figure, axes = plt.subplots(3, 5, figsize=(8, 4.9), layout="constrained")
for row, name in enumerate(np.unique(y)):
    for column in range(5):
        image = celsius[(y == name) & (subject == column)][0]
        shown = axes[row, column].imshow(image, cmap="inferno", vmin=22, vmax=37)
        axes[row, column].set(xticks=[], yticks=[])
    axes[row, 0].set_ylabel(name)
figure.colorbar(shown, ax=axes, label="degrees Celsius", shrink=0.9)
plt.show()

# %%
# Scaling
# -------
# Choose a range that holds whatever the camera may see in the recordings to come, not the range of these images, and
# clip what lies outside.

COLDEST, WARMEST = 20.0, 40.0


def scale(celsius):
    """Map degrees Celsius to 0..1, the same way for every image."""
    return np.clip((celsius - COLDEST) / (WARMEST - COLDEST), 0, 1)


def to_celsius(scaled):
    """Undo `scale`."""
    return COLDEST + (WARMEST - COLDEST) * scaled


# %%
# Two more settings are about temperature:
#
# - ``n_bits``: pixels are quantised. The default of 5 bits would leave steps of 20 / 32 = 0.6 degrees; 7 bits leave
#   0.16.
# - ``augment``: the default changes brightness and contrast while training, which for temperatures means a shift of
#   up to two degrees. Mirroring leaves them alone.


def mirror_half(images, generator):
    """Mirror about half of the images (n, H, W, C), left to right."""
    mirrored = generator.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


training, test = next(GroupShuffleSplit(1, test_size=0.3, random_state=0).split(celsius, y, subject))
model = FlowExpressionClassifier(
    n_bits=7,
    augment=mirror_half,
    n_flows=3,
    hidden_channels=64,
    head_n_flows=2,
    head_hidden_channels=64,
    batch_size=16,
    learning_rate=2e-3,
    max_epochs=10,
    random_state=0,
)
start = time.perf_counter()
model.fit(scale(celsius[training]), y[training])
print(f"fitted in {time.perf_counter() - start:.0f} s")
print(f"accuracy on {len(set(subject[test]))} new people: {model.score(scale(celsius[test]), y[test]):.1%}")

# %%
# ``input_range_`` says how the model read the numbers: floats that stay within 0..1 are taken as such. ``image_shape_``
# shows the one channel that was added.

print("input_range_:", model.input_range_)
print("image_shape_:", model.image_shape_)

# %%
# What comes out of the model is in the same range, and goes back to degrees. The round trip is exact up to the
# quantisation: pixels are rounded down to a level.

back = to_celsius(model.decode(model.encode(scale(celsius[test]))))
error = np.abs(celsius[test] - back).max()
print(f"encode, decode: at most {error:.3f} degrees off; a level is {20 / 2**7:.3f}")

# %%
# When scaling is forgotten
# -------------------------
# Degrees instead of 0..1 at prediction are refused, with the range that was expected:

try:
    model.predict(celsius[test])
except ValueError as error:
    print(error)

# %%
# So is a pixel that is too hot, if it was scaled but not clipped:

hot = celsius[test[:1]].copy()
hot[0, 0, 0] = 90.0
try:
    model.predict((hot - COLDEST) / (WARMEST - COLDEST))
except ValueError as error:
    print(error)
print("clipped:", model.predict(scale(hot)))

# %%
# One mistake cannot be noticed: degrees in ``fit``. Numbers from 22 to 37 lie within 0..255 and are taken as very dark
# grey levels. After quantisation next to nothing is left of them, so look at ``input_range_`` after a fit: here it has
# to be (0, 1).

careless = FlowExpressionClassifier(n_flows=1, hidden_channels=8, max_steps=1, random_state=0)
careless.fit(celsius[training], y[training])
kept = np.unique(careless.decode(careless.encode(celsius[test[:1]])))
kept_scaled = np.unique(model.decode(model.encode(scale(celsius[test[:1]]))))
print("input_range_:", careless.input_range_)
print(f"different values left in an image: {len(kept)}, against {len(kept_scaled)} with scaling")

figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.8), layout="constrained")
titles = ("as recorded", "scaled, 7 bits, and back", "not scaled, 5 bits, and back")
pictures = (celsius[test[0]], back[0], careless.decode(careless.encode(celsius[test[:1]]))[0])
for ax, title, picture in zip(axes, titles, pictures, strict=True):
    shown = ax.imshow(picture, cmap="inferno", vmin=22, vmax=37)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize="medium")
figure.colorbar(shown, ax=axes, label="degrees Celsius", shrink=0.9)
plt.show()
