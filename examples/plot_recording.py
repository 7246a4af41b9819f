"""
From a recording to an evaluation
=================================

A lab has recordings, and a table of who showed what when. Out of them come face crops that somebody has checked, an
evaluation on people whom the model never saw, and its report.
"""

# %%
# A recording and its table
# -------------------------
# Eight drawn people sit down in turn and show three expressions each, in three minutes of video. What somebody wrote
# down meanwhile is a table with a row for every expression.

import csv
import tempfile
from pathlib import Path

import av
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from flowexpr import FlowExpressionClassifier, report
from flowexpr.baselines import pca_lda
from flowexpr.datasets import load_faces, make_faces
from flowexpr.display import TimelineDisplay
from flowexpr.evaluation import evaluate
from flowexpr.faces import Fix, prepare_faces, read_segments
from flowexpr.faces.review import doubt_of

temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)

FPS, SECONDS = 10, 7.5  # of the video, and of an expression
drawn = make_faces(
    8, expressions=("anger", "happiness", "surprise"), n_clips=1, n_frames=15, image_size=112, random_state=0
)
clips = np.unique(drawn.clip)
random = np.random.default_rng(0)
n_shown = round(FPS * SECONDS)

with av.open(str(folder / "session.mp4"), "w") as container, open(folder / "segments.csv", "w", newline="") as file:
    stream = container.add_stream("mpeg4", rate=FPS)
    stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, "yuv420p", 1_500_000
    table = csv.writer(file)
    table.writerow(["video", "start", "end", "label", "subject", "clip"])
    for number, clip in enumerate(clips):
        rows = np.flatnonzero(drawn.clip == clip)
        subject, label = drawn.subject[rows[0]], drawn.target_names[drawn.target[rows[0]]]
        table.writerow(["session.mp4", number * SECONDS, (number + 1) * SECONDS, label, f"S{subject}", clip])
        seat = 60 + 90 * (subject % 2)  # people change seats, which is told as a jump
        for i in range(n_shown):
            frame = np.full((240, 320, 3), (96, 104, 112), np.uint8)
            left, top = seat + round(8 * np.sin(i / 9)), 64 + round(5 * np.cos(i / 7))
            frame[top : top + 112, left : left + 112] = drawn.images[rows[i * len(rows) // n_shown]]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())

segments = read_segments(folder / "segments.csv")
print(f"{len(segments)} segments; the first: {segments[0]}")

# %%
# Face crops
# ----------
# Two frames a second of every segment: the face is found, cut out and resized. Every frame asked for has a row,
# whatever became of it. A run that is killed goes on when it is run again.
#
# In photographs the default detector finds and aligns faces, and ``detector=`` is left out. It misses about a third of
# drawn people, so a function stands in for it here: any function of a picture that returns boxes and, if it knows them,
# the eyes. This one takes what is not background, of which the middle part is the face.


def not_background(image):
    """Return the box of the face, and no landmarks."""
    grey = image if image.ndim == 2 else image.mean(axis=2)
    other = np.abs(grey - np.median(grey[:20])) > 8
    rows, columns = np.flatnonzero(other.sum(1) > 20), np.flatnonzero(other.sum(0) > 20)
    side, middle = np.ptp(rows) + 1, (columns[0] + columns[-1]) / 2
    return [[middle - 0.36 * side, rows[0] + 0.27 * side, middle + 0.36 * side, rows[0] + 0.99 * side]], None


settings = {"segments": segments, "rate": 2, "image_size": 32, "detector": not_background}
rows = prepare_faces([str(folder / "session.mp4")], folder / "faces", **settings)
print(f"{sum(row.status == 'ok' for row in rows)} crops of {len(rows)} frames; flagged:")
for flag in ("jump", "near-duplicate", "blurred", "dark"):
    print(f"  {flag}: {sum(flag in row.flags for row in rows)}")

# %%
# Somebody should look at them, the most doubtful first. ``flowexpr prepare --review`` writes a page for that.

doubtful = sorted(rows, key=doubt_of, reverse=True)
figure, axes = plt.subplots(2, 9, figsize=(9, 2.8), layout="constrained")
for ax, row in zip(axes.ravel(), doubtful, strict=False):
    with Image.open(folder / "faces" / row.path) as crop:
        ax.imshow(crop)
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"{row.subject}, {float(row.time):.0f} s\n{row.flags or 'no doubt'}", fontsize=7)
plt.show()

# %%
# What is wrong is dropped, or given another box or label, and the same call applies it. (By hand it is written into
# ``fix.csv``.)

worst = doubtful[0]
fixes = {(worst.source, int(worst.frame)): Fix(drop=True)}
rows = prepare_faces([str(folder / "session.mp4")], folder / "faces", fixes=fixes, **settings)
print([row.status for row in rows if row.frame == worst.frame])

# %%
# On people it never saw
# ----------------------
# The data set knows who is seen in each crop, so the folds leave whole people out.

faces = load_faces(folder / "faces")
y = faces.target_names[faces.target]
print(f"images {faces.images.shape}, {len(np.unique(faces.subject))} people, {len(np.unique(faces.clip))} clips")

flow = FlowExpressionClassifier(
    n_flows=3,
    hidden_channels=48,
    head_n_flows=2,
    head_hidden_channels=48,
    batch_size=16,
    learning_rate=2e-3,
    max_epochs=6,
    random_state=0,
)
result = evaluate(
    {"linear": pca_lda(random_state=0), "flow": flow},
    faces.images,
    y,
    subject=faces.subject,
    clip=faces.clip,
    protocols=("subject",),
    n_splits=4,
    return_estimators=True,
)
print(result.to_text())

# %%
# Its report
# ----------
# One page that opens without a network; faces are put into it only where that is asked for.

model = result.estimators["flow", "subject"][0]
page = report.build(
    result, model, folder / "report.html", X=faces.images, names=[Path(path).name for path in faces.paths]
)
print(f"{page.name}: {page.stat().st_size / 2**10:.0f} KiB")

# %%
# Over time
# ---------
# The predictions were all made by models that had not seen the person, so they can be drawn over the recording.

predicted = result.predictions["flow", "subject"]
time = np.array([float(row.time) for row in rows if row.status == "ok"])
figure, ax = plt.subplots(figsize=(9, 3), layout="constrained")
order = np.argsort(predicted.index)
display = TimelineDisplay(time, predicted.proba[order], result.classes, title="each person by a model of the others")
display.plot(ax)
for segment in segments:
    ax.axvline(segment.start, color="white", linewidth=0.8)
    ax.text((segment.start + segment.end) / 2, 1.02, segment.label[:3], ha="center", fontsize=6, color="0.3")
ax.set_title(display.title, loc="left", pad=14)
plt.show()

temporary.cleanup()

# %%
# From the shell
# --------------
#
# .. code-block:: console
#
#    $ flowexpr prepare session.mp4 --segments segments.csv --rate 2 -o faces --review
#    $ flowexpr prepare session.mp4 --segments segments.csv --rate 2 -o faces --fixes faces/fix.csv
#    $ flowexpr evaluate faces --report report.html
#    $ flowexpr fit faces -o model.flowexpr
#    $ flowexpr predict model.flowexpr other.mp4 -o out.csv --plot out.png
