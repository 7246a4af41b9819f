"""
EEG and heart-rate windows
==========================

A window of a recording is an array of channels and times. flowexpr has no model of time: rows of numbers go through
RealNVP, which treats a row as *unordered features*. Shuffle the samples of all windows in the same way, and nothing
changes. So a window can be given in two ways: flattened as it is, or as a few features that say what you know of the
signal. Here both are measured, on signals that are drawn in this example.
"""

# %%
# Signals
# -------
# Two EEG channels and a pulse wave, four seconds at 25 Hz. A state changes the strength of the theta (4 to 8 Hz) and
# alpha (8 to 12 Hz) rhythms and the heart rate; every person has their own amplitudes and resting heart rate, and
# phases are drawn anew for every window. These are not real recordings, and the states differ more than real ones.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flowexpr import FlowExpressionClassifier

RATE, SECONDS = 25, 4
TIMES = np.arange(RATE * SECONDS) / RATE
CHANNELS = ("frontal EEG", "occipital EEG", "pulse")
BANDS = {"theta": (4, 8), "alpha": (8, 12)}
STATES = {
    "calm": {"theta": 0.8, "alpha": 1.3, "heart_rate": 64},
    "happiness": {"theta": 0.9, "alpha": 0.8, "heart_rate": 74},
    "fear": {"theta": 1.3, "alpha": 0.8, "heart_rate": 82},
}


def draw_eeg(state, own, rng):
    """One channel: noise, and four oscillations in every band."""
    signal = rng.normal(size=len(TIMES))
    for strength, (band, (low, high)) in zip(own, BANDS.items(), strict=True):
        for frequency in rng.uniform(low, high, 4):
            amplitude = state[band] * strength * rng.rayleigh(0.5)
            signal += amplitude * np.sin(2 * np.pi * (frequency * TIMES + rng.uniform()))
    return signal


def draw_windows(n_subjects, n_windows, rng):
    """Windows (n, channels, times), their states, and whose they are."""
    windows, states, subjects = [], [], []
    for subject in range(n_subjects):
        gain, own = np.exp(rng.normal(0, 0.3, 2)), np.exp(rng.normal(0, 0.15, (2, 2)))
        resting = rng.normal(0, 5)
        for name, state in STATES.items():
            for _ in range(n_windows):
                eeg = [10 * gain[i] * draw_eeg(state, own[i], rng) for i in range(2)]
                beats = (state["heart_rate"] + resting + rng.normal(0, 4)) / 60 * TIMES + rng.uniform()
                pulse = np.exp(3 * np.cos(2 * np.pi * beats) - 3) + rng.normal(0, 0.05, len(TIMES))
                windows.append([*eeg, pulse])
                states.append(name)
                subjects.append(subject)
    return np.array(windows, dtype=np.float32), np.array(states), np.array(subjects)


windows, states, subject = draw_windows(12, 16, np.random.default_rng(0))
print(f"windows (n, channels, times): {windows.shape}, of {len(set(subject))} people")

figure, axes = plt.subplots(3, 3, figsize=(9, 4.2), sharex=True, sharey="row", layout="constrained")
for column, name in enumerate(STATES):
    example = windows[np.flatnonzero((states == name) & (subject == 0))[0]]
    for row, signal in enumerate(example):
        axes[row, column].plot(TIMES, signal, linewidth=0.9, color=("#0072B2", "#0072B2", "#D55E00")[row])
        axes[row, column].spines[["top", "right"]].set_visible(False)
    axes[0, column].set_title(name)
    axes[-1, column].set_xlabel("seconds")
for row, name in enumerate(CHANNELS):
    axes[row, 0].set_ylabel(name)
figure.align_ylabels()
plt.show()

# %%
# A row per window
# ----------------
# A three-dimensional X would be taken for grey *images*, (n, height, width), and Glow's 2-D convolutions would run
# over channels and times as if both were places. Flatten it, so that X is (n, n_features):

flattened = windows.reshape(len(windows), -1)
print("flattened:", flattened.shape)

# %%
# What the signals are about is easier to say in features: the logarithm of the power of every band and EEG channel,
# and the heart rate, found as the strongest frequency between 45 and 120 beats a minute.


def band_powers_and_heart_rate(windows):
    """Log band powers of the EEG channels and beats a minute, (n, 5)."""
    eeg, pulse = windows[:, :2], windows[:, 2]
    power = np.abs(np.fft.rfft(eeg * np.hanning(len(TIMES)), axis=2)) ** 2
    frequency = np.fft.rfftfreq(len(TIMES), 1 / RATE)
    powers = [np.log(power[:, :, (frequency >= low) & (frequency < high)].mean(2)) for low, high in BANDS.values()]
    beats = np.arange(45, 120)
    waves = np.exp(-2j * np.pi * np.outer(TIMES, beats / 60))
    heart_rate = beats[np.abs((pulse - pulse.mean(1, keepdims=True)) @ waves).argmax(1)]
    return np.column_stack([*powers, heart_rate])


features = band_powers_and_heart_rate(windows)
print("features: ", features.shape)

# %%
# Both, by subject
# ----------------
# Every test person is new to the model. The flow has the same settings on both; a linear model stands beside it.

flow = FlowExpressionClassifier(
    hidden_channels=64,
    head_hidden_channels=64,
    class_loss_weight=1.0,
    label_smoothing=0.0,
    max_epochs=12,
    random_state=0,
)
linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
scores = {}
for rows, X in (("flattened samples", flattened), ("features", features)):
    for name, model in (("linear", linear), ("flow", flow)):
        start = time.perf_counter()
        found = cross_val_score(model, X, states, groups=subject, cv=GroupKFold(3))
        scores[rows, name] = found
        seconds = time.perf_counter() - start
        print(f"{rows:18s} {name:7s} {found.mean():.1%}  folds {found.round(3)}  {seconds:4.1f} s")

# %%

figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
for place, ((_, name), found) in enumerate(reversed(scores.items())):
    colour = "#0072B2" if name == "flow" else "#D55E00"
    ax.plot(found, np.full(len(found), place), "o", color=colour, alpha=0.5, markersize=7)
    ax.plot(found.mean(), place, "|", color=colour, markersize=22, markeredgewidth=3)
ax.axvline(1 / 3, color="0.6", linestyle=":")
ax.text(1 / 3, 1.01, "guessing", color="0.4", ha="center", va="bottom", transform=ax.get_xaxis_transform())
ax.set_yticks(range(len(scores)), [f"{name}, {rows}" for rows, name in reversed(scores)])
ax.set(xlim=(0.2, 1), ylim=(-0.5, 3.4), xlabel="accuracy by subject; dots are folds, bars their means")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# The phases are random, so the mean of every sample is zero in every state, and a linear model of the samples has
# next to nothing to hold on to. The flow models the whole distribution and does find something there, but it takes
# long: on vectors it mixes all values of a row by full matrices, so keep rows below a few hundred values. Five
# features that say what a rhythm is do far better, for both models.
#
# With features as good as these the linear model is as good as the flow or better. What the flow adds is a density: it
# can say that a window is unlike what it was trained on.

model = flow.fit(features[subject > 0], states[subject > 0])
strange = features[:1] + [0, 0, 0, 0, 100]
print(f"log density of a window:              {model.score_samples(features[:1])[0]:8.1f} nats")
print(f"the same with 100 more beats a minute: {model.score_samples(strange)[0]:7.1f} nats")
