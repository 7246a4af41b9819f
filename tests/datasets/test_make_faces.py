"""Drawn faces: what the Bunch holds, what repeats, what the action units do, and how hard they are."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, cross_val_score

from flowexpr.baselines import pca_lda
from flowexpr.datasets import make_faces

FACS = {
    "happiness": {"AU6", "AU12"},
    "sadness": {"AU1", "AU4", "AU15"},
    "surprise": {"AU1", "AU2", "AU5", "AU26"},
    "fear": {"AU1", "AU2", "AU4", "AU5", "AU20", "AU26"},
    "anger": {"AU4", "AU5", "AU7", "AU23"},
    "disgust": {"AU9", "AU15", "AU17"},
}


@pytest.fixture(scope="module")
def faces():
    return make_faces(3, neutral=True, n_frames=3, image_size=32, return_masks=True, random_state=0)


def test_shapes_and_types(faces):
    n = 3 * 7 * 2 * 3
    assert faces.images.shape == (n, 32, 32, 3)
    assert faces.images.dtype == np.uint8
    assert faces.action_unit_mask.shape == (n, 32, 32)
    assert faces.action_unit_mask.dtype == bool
    assert faces.action_units.shape == (n, len(faces.action_unit_names))
    for name in ("target", "subject", "clip", "frame"):
        assert faces[name].shape == (n,)
    assert faces.target_names.tolist() == sorted([*FACS, "neutral"])


def test_every_person_shows_every_expression_in_every_clip(faces):
    assert len(np.unique(faces.clip)) == 3 * 7 * 2
    for clip in np.unique(faces.clip):
        rows = faces.clip == clip
        assert len(np.unique(faces.subject[rows])) == len(np.unique(faces.target[rows])) == 1
        assert faces.frame[rows].tolist() == [0, 1, 2]


def test_expressions_are_their_action_units(faces):
    for target, name in enumerate(faces.target_names):
        mean = faces.action_units[faces.target == target].mean(0)
        shown = set(faces.action_unit_names[mean > 0.2].tolist())
        assert shown == FACS.get(name, set())


def test_intensity_rises_and_falls_within_a_clip():
    faces = make_faces(2, n_clips=1, n_frames=9, image_size=16, random_state=0)
    for clip in np.unique(faces.clip):
        total = faces.action_units[faces.clip == clip].sum(1)
        peak = int(total.argmax())
        assert (np.diff(total)[:peak] >= 0).all()
        assert (np.diff(total)[peak:] <= 0).all()


def test_action_units_move_pixels_of_the_face_only(faces):
    neutral = faces.target_names[faces.target] == "neutral"
    moved = faces.action_unit_mask.mean((1, 2))
    assert moved[neutral].mean() < 0.3 * moved[~neutral].mean()
    assert 0.02 < moved[~neutral].mean() < 0.3
    assert not faces.action_unit_mask[:, :3, :3].any()  # the background


def test_same_seed_draws_the_same_and_another_does_not(faces):
    again = make_faces(3, neutral=True, n_frames=3, image_size=32, random_state=0)
    np.testing.assert_array_equal(again.images, faces.images)
    other = make_faces(3, neutral=True, n_frames=3, image_size=32, random_state=1)
    assert (other.images != faces.images).mean() > 0.5


def test_people_do_not_depend_on_how_many_are_drawn(faces):
    fewer = make_faces(2, neutral=True, n_frames=3, image_size=32, random_state=0)
    np.testing.assert_array_equal(fewer.images, faces.images[faces.subject < 2])


def test_global_generator_is_left_alone_with_a_seed():
    np.random.seed(3)  # noqa: NPY002 (the global one is what must not be used)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_faces(1, n_clips=1, n_frames=1, image_size=16, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.slow
def test_hard_enough_to_mean_something_and_not_hopeless():
    faces = make_faces(29, image_size=32, random_state=0)
    scores = cross_val_score(pca_lda(), faces.images, faces.target, groups=faces.subject, cv=GroupKFold(5))
    assert 0.55 < scores.mean() < 0.85


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_subjects": 0}, "n_subjects=0 was expected to be an integer of at least 1"),
        ({"expressions": 7}, "expressions=7 was expected to be 2 to 6"),
        ({"expressions": ("joy",)}, "was expected to hold different names out of"),
        ({"image_size": 8}, "image_size=8 was expected to be an integer of at least 16"),
        ({"min_intensity": 0}, r"min_intensity=0 was expected to be a number in \(0, 1\]"),
    ],
)
def test_wrong_settings_are_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        make_faces(**settings)


def test_narrow_integers_of_numpy_are_sizes():
    drawn = [make_faces(1, n_clips=1, n_frames=2, image_size=size, random_state=0) for size in (np.uint8(48), 48)]
    np.testing.assert_array_equal(drawn[0].images, drawn[1].images)
