"""What stands on both sides of a split is counted, and nothing else."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from flowexpr.evaluation import evaluate
from flowexpr.evaluation.leakage import LeakCounter


def clips(n_clips=4, n_frames=5, noise=2.0, shape=(32, 32)):
    """Clips of frames that differ by a little noise; return images, and the clip of each."""
    random = np.random.default_rng(0)
    scenes = random.integers(0, 256, (n_clips, *shape)).repeat(n_frames, axis=0)
    images = np.clip(scenes + random.normal(0, noise, scenes.shape), 0, 255).astype(np.uint8)
    return images, np.arange(n_clips).repeat(n_frames)


def every_fifth(n=20):
    rows = np.arange(n)
    return [(rows[rows % 5 != k], rows[rows % 5 == k]) for k in range(5)]


def test_frames_of_one_clip_are_near_duplicates():
    images, clip = clips()
    counts = LeakCounter(images, {"subject": clip // 2, "clip": clip}).count(every_fifth())
    assert counts["n_tested"] == counts["rows_of_shared_clips"] == counts["near_duplicates"] == 20
    assert (counts["shared_clips"], counts["shared_subjects"]) == (4, 2)


def test_examples_name_five_different_pairs_of_test_and_training_row():
    images, clip = clips()
    examples = LeakCounter(images, {"clip": clip}).count(every_fifth())["examples"]
    assert len({frozenset([each["test"], each["train"]]) for each in examples}) == 5
    for each in examples:
        assert each["test"] % 5 == each["fold"] != each["train"] % 5
        assert each["same_clip"] is True
        assert each["correlation"] > 0.98


def test_clips_of_different_scenes_are_no_near_duplicates():
    images, clip = clips()
    folds = [(np.flatnonzero(clip != k), np.flatnonzero(clip == k)) for k in range(4)]
    counts = LeakCounter(images, {"clip": clip}).count(folds)
    assert counts["near_duplicates"] == counts["shared_clips"] == counts["rows_of_shared_clips"] == 0
    assert all(each["correlation"] < 0.98 and not each["same_clip"] for each in counts["examples"])


def test_light_and_contrast_hide_no_duplicate():
    images, _ = clips(noise=0)
    images[1::5] = images[1::5] // 2 + 60
    assert LeakCounter(images, {}).count([(np.arange(1, 20, 5), np.arange(0, 20, 5))])["near_duplicates"] == 4


@pytest.mark.parametrize("shape", [(8, 8), (20, 14, 3), (50, 50, 1)])
def test_images_of_any_size_and_channels(shape):
    images, _ = clips(shape=shape)
    assert LeakCounter(images, {}).count(every_fifth())["near_duplicates"] == 20


def test_rows_are_compared_column_by_column():
    random = np.random.default_rng(0)
    rows = random.normal(size=(6, 40)) * np.logspace(0, 4, 40)
    rows[5] = rows[0]
    counts = LeakCounter(rows, {}).count([(np.arange(1, 6), np.arange(1))])
    assert counts["near_duplicates"] == 1
    assert counts["examples"][0]["train"] == 5


def test_short_rows_are_not_compared():
    counts = LeakCounter(np.zeros((20, 4)), {}).count(every_fifth())
    assert counts["near_duplicates"] is None
    assert counts["measure"] == "not counted: rows of fewer than 16 values"


def test_many_rows_are_compared_a_part_at_a_time(monkeypatch):
    images, clip = clips()
    whole = LeakCounter(images, {"clip": clip}).count(every_fifth())
    monkeypatch.setattr("flowexpr.evaluation.leakage.COMPARED_AT_ONCE", 20)
    parts = LeakCounter(images, {"clip": clip}).count(every_fifth())
    assert parts["near_duplicates"] == whole["near_duplicates"]
    assert [each["train"] for each in parts["examples"]] == [each["train"] for each in whole["examples"]]


def test_every_protocol_is_counted():
    images, clip = clips(n_clips=8)
    result = evaluate({"m": DummyClassifier()}, images, np.arange(40) % 2, subject=clip // 2, clip=clip, n_splits=4)
    by_protocol = {name: counts["shared_subjects"] for name, counts in result.leakage.items()}
    assert by_protocol["random"] == 4
    assert by_protocol["clip"] > 0 == by_protocol["subject"]
    assert "subject: 0% by subject, 0% by clip" in result.to_text()


def test_a_missing_pixel_does_not_hide_duplicates():
    images, clip = clips()
    holed = images.astype(np.float64)
    holed[0, 0, 0] = np.nan
    whole, counted = (LeakCounter(X, {"clip": clip}).count(every_fifth()) for X in (images, holed))
    assert counted["near_duplicates"] >= whole["near_duplicates"] - 1
    assert all(np.isfinite(each["correlation"]) for each in counted["examples"])
