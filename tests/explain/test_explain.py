"""Explanations: parts that sum to the decision, a map that is complete, neighbours, counterfactuals, wrong requests."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import NotFittedError

from flowexpr import FlowExpressionClassifier
from flowexpr.datasets import make_faces
from flowexpr.explain import counterfactual, descent, encode_reference
from flowexpr.explain.evidence import EvidenceModel
from flowexpr.explain.neutral_version import Rest
from flowexpr.explain.text import describe_way, percent
from flowexpr.fitted import predictor_of

SMALL = {"n_flows": 2, "hidden_channels": 16, "head_n_flows": 2, "head_hidden_channels": 16}


@pytest.fixture(scope="module")
def faces():
    return make_faces(4, expressions=3, n_clips=1, n_frames=2, image_size=32, random_state=0)


@pytest.fixture(scope="module", params=["conditional", "gmm"])
def model(request, faces):
    seed = {"conditional": 1, "gmm": 0}[request.param]  # of which all counterfactuals are reached in either precision
    return FlowExpressionClassifier(**SMALL, head=request.param, max_epochs=30, augment=False, random_state=seed).fit(
        faces.images, faces.target
    )


@pytest.fixture(scope="module")
def explained(model, faces):
    return model.explain(faces.images[:6])


def assert_sums_to_logits(parts, difference):
    """Each of the three splits, to 1e-4 of the difference, however small that is."""
    prior = parts.class_prior
    assert parts.flows.sum() + parts.latent_prior + prior == pytest.approx(difference, rel=1e-4, abs=1e-10)
    assert parts.cells.sum() + prior == pytest.approx(difference, rel=1e-4, abs=1e-10)
    assert parts.channels.sum() + prior == pytest.approx(difference, rel=1e-4, abs=1e-10)


def test_parts_sum_to_the_difference_of_the_logits_against_every_class(model, faces):
    log_proba = model.predict_log_proba(faces.images)
    for b, name in enumerate(model.classes_):
        for one, row in zip(
            model.explain(faces.images, name, pixel_map=False, counterfactual=False), log_proba, strict=True
        ):
            a = np.flatnonzero(model.classes_ == one.label)[0]
            assert a == row.argmax()
            if a != b:
                assert one.against == name
                assert one.evidence == pytest.approx(row[a] - row[b], rel=1e-4, abs=1e-10)
                assert_sums_to_logits(one.parts, row[a] - row[b])


@pytest.mark.parametrize("seed", range(3))
def test_parts_of_random_models_sum_to_the_difference_of_the_logits(faces, seed):
    clf = FlowExpressionClassifier(**SMALL, max_steps=1, augment=False, random_state=seed).fit(
        faces.images, faces.target
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in clf.module_.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator))
    explained = clf.explain(faces.images, pixel_map=False, counterfactual=False)
    for one, row in zip(explained, np.sort(clf.predict_log_proba(faces.images), axis=1), strict=True):
        assert_sums_to_logits(one.parts, row[-1] - row[-2])


def test_map_is_complete(explained):
    for one in explained:
        change = one.evidence - one.baseline_evidence
        assert one.pixel_map.shape == one.image.shape[:2]
        assert one.pixel_map.sum() == pytest.approx(change, rel=1e-6, abs=1e-6)
        assert abs(one.convergence_delta) < 0.02 * abs(change)
        assert sum(one.regions.values()) == pytest.approx(one.pixel_map.sum(), rel=1e-6, abs=1e-6)


def test_counterfactual_is_taken_for_the_other_class(model, explained):
    reached = [one for one in explained if one.counterfactual.reached]
    assert reached
    for one in reached:
        found = one.counterfactual
        assert found.found
        assert model.predict(found.image[None])[0] == one.against
        probability = model.predict_proba(found.image[None])[0]
        np.testing.assert_allclose(found.probabilities, probability, atol=1e-3)
        assert probability[model.classes_ == one.against] >= 0.9 - 1e-3
        np.testing.assert_array_equal(found.strip[-1], found.image)


def test_counterfactuals_are_images_to_the_flow(model, faces, explained):
    lost = [
        model.score_samples(one.image[None])[0] - model.score_samples(one.counterfactual.image[None])[0]
        for one in explained
    ]
    assert max(lost) < descent.MOST_LOST_PER_VALUE * faces.images[0].size + 1


def test_where_no_step_leads_to_an_image_the_face_itself_stands_for_it(model, faces, monkeypatch):
    monkeypatch.setattr(descent, "MOST_LOST_PER_VALUE", -100.0)
    monkeypatch.setattr(descent, "ALWAYS_ALLOWED", -1e6)
    found = model.explain(faces.images[:1], pixel_map=False)[0].counterfactual
    assert not found.reached
    assert not found.found
    np.testing.assert_array_equal(found.image, found.strip[0])
    title = describe_way(found, model.classes_)
    assert title.endswith("was found: nothing tried was like the faces that the model knows")


@pytest.mark.parametrize(
    ("rest", "named", "start"),
    [("neutral", None, "a neutral version of this face"), ("calm", "calm", "this face moved to calm")],
)
def test_map_starts_from_the_neutral_class_where_there_is_one(faces, rest, named, start):
    names = np.array([rest, "happiness", "surprise"])[faces.target]
    clf = FlowExpressionClassifier(**SMALL, max_epochs=60, augment=False, random_state=0).fit(faces.images, names)
    explained = clf.explain(faces.images[:6], counterfactual=False, neutral=named)
    assert {one.label == rest for one in explained} == {True, False}
    reached = []
    for one in explained:
        before, after = clf.predict_proba(np.stack([one.image, one.baseline]))[:, list(clf.classes_).index(rest)]
        at_start = one.baseline_probabilities
        if one.label == rest:
            is_reached, goal = at_start.max() <= 3 * at_start.min(), "a tie of all classes"
            moved = f"this face moved {'to' if is_reached else 'towards'} {goal}"
        else:
            is_reached = at_start[list(clf.classes_).index(rest)] >= 0.5
            moved = start if is_reached else f"this face moved towards {rest}"
            assert after > before
        said = f"(taken for {clf.classes_[at_start.argmax()]}, {percent(at_start.max())})"
        assert one.start == (moved if is_reached else f"{moved} {said}")
        reached.append(is_reached)
        assert f"than {one.start}" in one.text
    assert np.mean(reached) > 0.5


def test_the_start_of_a_map_is_not_called_what_the_model_does_not_say(faces, monkeypatch):
    monkeypatch.setattr(descent, "N_STEPS", 0)  # the step from which a descent starts
    names = np.array(["neutral", "happiness", "surprise"])[faces.target]
    clf = FlowExpressionClassifier(**SMALL, max_steps=1, augment=False, random_state=0).fit(faces.images, names)
    others = [one for one in clf.explain(faces.images[:6], counterfactual=False) if one.label != "neutral"]
    assert others
    for one in others:
        of_rest = one.baseline_probabilities[list(clf.classes_).index("neutral")]
        assert of_rest < 0.5
        assert (one.start == "a neutral version of this face") == (of_rest >= 0.5)
        said = one.baseline_probabilities.argmax()
        taken_for = f"taken for {clf.classes_[said]}, {100 * one.baseline_probabilities[said]:.0f} %"
        assert one.start == f"this face moved towards neutral ({taken_for})"


def test_map_of_a_model_without_a_neutral_class_starts_near_a_tie(model, explained):
    for one in explained:
        at_start = model.predict_proba(one.baseline[None])[0]
        is_tie = one.baseline_probabilities.max() <= 3 * one.baseline_probabilities.min()
        said = one.baseline_probabilities.argmax()
        taken_for = f" (taken for {model.classes_[said]}, {percent(one.baseline_probabilities[said])})"
        moved = "to a tie of all classes" if is_tie else f"towards a tie of all classes{taken_for}"
        assert one.start == f"this face moved {moved}"
        assert at_start.max() < one.probabilities.max()
        assert -np.log(at_start).mean() < -np.log(one.probabilities).mean()


def test_most_maps_of_a_model_without_a_neutral_class_start_at_a_tie(model, faces):
    starts = [one.start for one in model.explain(faces.images, counterfactual=False)]
    share = 1 / 2 if model.head == "conditional" else 1 / 4
    assert starts.count("this face moved to a tie of all classes") > share * len(starts)


def test_counterfactuals_are_near(model, faces, explained, monkeypatch):
    """Nearer than where pixels cost nothing, and than the first step that is enough."""

    def moved():
        found = [one.counterfactual for one in model.explain(faces.images, pixel_map=False)]
        return np.mean([np.abs(one.image.astype(float) - one.strip[0]) for one in found])

    assert all(one.counterfactual.reached for one in explained)
    near = moved()
    for name in ("PRICE_OF_PIXELS", "N_QUARTERINGS"):
        with monkeypatch.context() as changed:
            changed.setattr(counterfactual, name, 0)
            assert near < moved()


def test_counterfactuals_are_likelier_for_their_calmer_latents(model, faces, explained, monkeypatch):
    monkeypatch.setattr(counterfactual, "CALM", 0.0)
    restless = model.explain(faces.images[:6], pixel_map=False)
    calm = model.score_samples(np.stack([one.counterfactual.image for one in explained]))
    assert calm.mean() > model.score_samples(np.stack([one.counterfactual.image for one in restless])).mean()


def test_a_descent_moves_beside_the_class_averages_too(model, faces):
    evidence = EvidenceModel(predictor_of(model))
    decided = evidence.decide(faces.images[:2].reshape(2, -1), None, None)
    means = torch.from_numpy(np.moveaxis(model.class_latents_[0], -1, 1).copy())
    (step,) = descent.descend(evidence, means, [counterfactual.aim_at_class(decided, len(means), 0.9)])
    directions = (means - means.mean(0)).flatten(1).double().T
    for one in step.flatten(1).double():
        rest = one - directions @ torch.linalg.lstsq(directions, one[:, None], driver="gelsd").solution[:, 0]
        assert rest.norm() > 0.01 * one.norm()


def test_neutral_version_moves_few_pixels(model, faces, explained):
    """As one of the same face does; of two faces of these people three quarters of all pixels differ so much."""
    moved = [np.mean(np.abs(one.baseline.astype(int) - one.image) > 16) for one in explained]
    assert np.mean(moved) < 0.4
    assert max(moved) < 0.6


def test_where_no_step_leads_to_an_image_the_map_starts_from_the_face_itself(model, faces, monkeypatch):
    monkeypatch.setattr(descent, "MOST_LOST_PER_VALUE", -100.0)
    monkeypatch.setattr(descent, "ALWAYS_ALLOWED", -1e6)
    (one,) = model.explain(faces.images[:1], counterfactual=False)
    assert np.abs(one.pixel_map).max() == 0
    assert not one.has_map
    assert "this face itself" not in one.text
    assert "of what speaks for it" not in one.text
    assert one.start == "this face itself, since no other start was found"
    np.testing.assert_allclose(one.baseline_probabilities, one.probabilities)
    assert one.baseline_evidence == pytest.approx(one.evidence, abs=1e-3)


def test_neighbours_leave_out_who_is_excluded(model, faces):
    subject = faces.subject
    (one,) = model.explain(
        faces.images[:1],
        pixel_map=False,
        counterfactual=False,
        reference=(faces.images, faces.target, subject),
        exclude=[subject[0]],
    )
    for label in (one.label, one.against):
        near = one.neighbours[label]
        assert near
        assert all(each.id != subject[0] for each in near)
        assert [each.distance for each in near] == sorted(each.distance for each in near)


def test_the_start_does_not_depend_on_what_is_asked(model, faces):
    X = faces.images[:1]
    plain = model.explain(X, counterfactual=False)[0]
    other = next(label for label in model.classes_ if label not in (plain.label, plain.against))
    asked = model.explain(X, label=other, counterfactual=False)[0]
    np.testing.assert_array_equal(asked.baseline, plain.baseline)


def test_rows_of_pixels_may_be_neutral_faces_and_errors_name_what_is_wrong(model, faces):
    X, at_rest = faces.images[:2], faces.images[2:4]
    as_images = model.explain(X, neutral=at_rest, counterfactual=False)
    as_rows = model.explain(X.reshape(2, -1), neutral=at_rest.reshape(2, -1), counterfactual=False)
    for one, same in zip(as_images, as_rows, strict=True):
        np.testing.assert_allclose(one.pixel_map, same.pixel_map, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="neutral: "):
        model.explain(X, neutral=at_rest[:, :8, :8])
    with pytest.raises(ValueError, match="reference: "):
        model.explain(X, reference=(at_rest[:, :8, :8], model.classes_[:2]))
    with pytest.raises(NotFittedError):
        encode_reference(FlowExpressionClassifier(), X, model.classes_[:2])


def test_constant_features_have_no_evidence(tiny, two_features):
    X, y = two_features
    X = np.column_stack([X, np.full(len(X), 0.1)])
    explained = tiny(max_epochs=20).fit(X, y).explain(X[:4])
    assert all(one.pixel_map[2] == 0 and one.pixel_map[:2].any() for one in explained)
    assert all((one.counterfactual.strip[:, 2] == 0.1).all() and one.baseline[2] == 0.1 for one in explained)


def test_vectors_are_explained_by_feature():
    data = load_iris(as_frame=True)
    clf = FlowExpressionClassifier(max_epochs=5, random_state=0).fit(data.data, data.target)
    one = clf.explain(data.data[:1])[0]
    assert list(one.regions) == data.feature_names
    assert "this sample is" in one.text
    np.testing.assert_allclose(one.feature_scales, data.data.std(ddof=0))
    (same,) = clf.explain(data.data[:1], neutral=data.data.iloc[1], counterfactual=False)  # a Series
    (as_objects,) = clf.explain(data.data[:1], neutral=data.data.iloc[1].astype(object), counterfactual=False)
    assert same.start == as_objects.start == "the neutral sample given"
    for labels in (data.target[:2].astype(str), ["rest", "calm"]):  # a Series of labels is no row
        with pytest.raises(ValueError, match="neutral was expected to hold samples, or to be one label for all"):
            clf.explain(data.data[:2], neutral=labels)


def test_features_too_large_to_compute_with_are_told():
    data = load_iris(as_frame=True)
    clf = FlowExpressionClassifier(max_steps=1, random_state=0).fit(data.data, data.target)
    X = data.data[:2].copy()
    X.iloc[1, 2] = 1e20
    assert np.isfinite(clf.predict_log_proba(X)).all()
    with pytest.warns(UserWarning, match="1 of 1 maps are rough.*nor on one of a sample that is like no training"):
        (one,) = clf.explain(X.iloc[1:])
    assert one.label != one.against
    assert len(one.text) < 500
    X.iloc[1, 2] = 1e200
    for method in (clf.predict_proba, clf.explain, clf.transform):
        with pytest.raises(ValueError, match=r"X holds 1e\+200 in row 1, column 2, where .* 3.76 \+- 1.76: too large"):
            method(X)


def test_explanations_are_compared_and_hashed_as_objects(explained):
    assert explained[0] == explained[0]
    assert explained[0] != explained[1]
    assert len(set(explained[:2])) == 2
    assert explained[0].parts != explained[1].parts


def test_batch_gives_what_one_by_one_gives(model, faces, explained):
    alone = model.explain(faces.images[2:3])[0]
    np.testing.assert_allclose(alone.pixel_map, explained[2].pixel_map, rtol=1e-2, atol=1e-3)
    assert alone.evidence == pytest.approx(explained[2].evidence, rel=1e-4, abs=1e-4)


def test_what_a_descent_finds_does_not_depend_on_what_else_is_looked_for(faces):
    """Up to rounding, in float32 whatever the model's precision; in bfloat16 it differs ten times as much."""
    larger = {"n_flows": 4, "hidden_channels": 32, "precision": "mixed"}
    clf = FlowExpressionClassifier(**larger, max_epochs=30, augment=False, random_state=0)
    clf.fit(faces.images, faces.target)
    evidence = EvidenceModel(predictor_of(clf))
    decided = evidence.decide(faces.images[:8].reshape(8, -1), None, None)
    means = torch.from_numpy(np.moveaxis(clf.class_latents_[0], -1, 1).copy())

    def found(which):
        (step,) = descent.descend(evidence, means, [counterfactual.aim_at_class(decided[which], len(means), 0.9)])
        return step.flatten(1)

    together, alone = found(slice(None)), torch.cat([found(slice(i, i + 1)) for i in range(8)])
    assert ((together - alone).norm(dim=1) / together.norm(dim=1)).median() < 2e-4


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"against": "joy"}, "unknown label 'joy'"),
        ({"confidence": 1.0}, r"confidence=1.0 was expected to be a probability"),
        ({"confidence": "high"}, r"confidence='high' was expected to be a probability"),
        ({"label": "joy"}, "unknown label 'joy'"),
        ({"neutral": "joy"}, "unknown label 'joy'"),
        ({"n_neighbours": 0}, "n_neighbours=0 was expected to be an integer of at least 1"),
        ({"n_neighbours": True}, "n_neighbours=True was expected to be an integer of at least 1"),
        ({"exclude": ["a"]}, "exclude was given, but no ids to find it among"),
        ({"landmarks": np.full((1, 5, 2), 500.0)}, r"landmarks\[0\] were expected to lie on a face in an image of 32"),
        ({"landmarks": np.zeros((1, 5, 2))}, r"landmarks\[0\] were expected to lie on a face"),
        ({"landmarks": np.array([[[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.4, 0.8], [0.6, 0.8]]])}, "in pixels"),
    ],
)
def test_wrong_requests_are_told(model, faces, request_, message):
    with pytest.raises(ValueError, match=message):
        model.explain(faces.images[:1], **request_)


def test_exclude_of_another_type_than_the_ids_is_told(model, faces):
    reference = (faces.images, faces.target, np.arange(len(faces.images)))
    with pytest.raises(ValueError, match="exclude='0' is of another type than the ids of the reference"):
        model.explain(faces.images[:1], pixel_map=False, counterfactual=False, reference=reference, exclude="0")
    (one,) = model.explain(
        faces.images[:1], pixel_map=False, counterfactual=False, reference=reference, exclude=[{0, 1}]
    )
    assert {near.id for found in one.neighbours.values() for near in found}.isdisjoint({0, 1})


def test_reference_of_another_model_is_told(model, faces):
    small = faces.images[:, ::2, ::2]
    other = FlowExpressionClassifier(**SMALL, max_steps=1, augment=False, random_state=0).fit(small, faces.target)
    reference = encode_reference(other, small, faces.target)
    with pytest.raises(ValueError, match="reference was encoded by another model"):
        model.explain(faces.images[:1], pixel_map=False, counterfactual=False, reference=reference)


def test_reference_from_before_another_fit_is_told(faces):
    clf = FlowExpressionClassifier(**SMALL, max_steps=1, augment=False, random_state=0)
    reference = encode_reference(clf.fit(faces.images, faces.target), faces.images, faces.target)
    clf.set_params(random_state=1).fit(faces.images, faces.target)
    with pytest.raises(ValueError, match="another model, or before this one was fitted anew"):
        clf.explain(faces.images[:1], pixel_map=False, counterfactual=False, reference=reference)


def test_unlabelled_samples_of_a_reference_are_nobodys_neighbours(faces):
    y = np.where(np.arange(len(faces.target)) % 3 == 0, -1, faces.target)
    clf = FlowExpressionClassifier(**SMALL, unlabeled=-1, max_steps=1, augment=False, random_state=0)
    clf.fit(faces.images, y)
    (one,) = clf.explain(
        faces.images[:1], pixel_map=False, counterfactual=False, reference=(faces.images, y), n_neighbours=len(y)
    )
    assert {label: sorted(near.index for near in found) for label, found in one.neighbours.items()} == {
        label: np.flatnonzero(y == label).tolist() for label in (one.label, one.against)
    }
    with pytest.raises(ValueError, match="labels of the reference were expected to be"):
        clf.explain(faces.images[:1], reference=(faces.images, y[:2]))


def test_counterfactual_of_a_class_that_is_not_said_leads_to_it(model, faces):
    said = model.predict(faces.images[:4])
    asked = np.array([next(label for label in model.classes_ if label != one) for one in said])
    for one, label in zip(model.explain(faces.images[:4], label=asked, pixel_map=False), asked, strict=True):
        assert one.against == one.predicted
        assert one.counterfactual.label == label
        (place,) = np.flatnonzero(model.classes_ == label)
        of_label = one.counterfactual.strip_probabilities[:, place]
        assert of_label[-1] > of_label[0]


def test_class_is_not_compared_with_itself(model, faces):
    with pytest.raises(ValueError, match="label and against are both"):
        model.explain(faces.images[:1], model.classes_[0], label=model.classes_[0])


def test_inference_mode_around_it_changes_nothing(model, faces, explained):
    with torch.inference_mode():
        (one,) = model.explain(faces.images[:1], confidence=np.float32(0.9))
    np.testing.assert_allclose(one.pixel_map, model.explain(faces.images[:1])[0].pixel_map)


def test_neutral_face_may_come_as_one_image(model, faces):
    one, other = (
        model.explain(faces.images[:2], neutral=face, counterfactual=False)[1]
        for face in (faces.images[5], faces.images[5:6])
    )
    np.testing.assert_array_equal(one.pixel_map, other.pixel_map)
    with pytest.raises(ValueError, match="neutral was expected to hold samples, or to be one label"):
        model.explain(faces.images[:2], neutral=["a", "b"])


def test_maps_of_features_start_from_a_tie_and_tell_of_nearly_all_evidence():
    X, y = load_breast_cancer(return_X_y=True)
    X = X[:, :10]
    clf = FlowExpressionClassifier(max_epochs=30, random_state=0).fit(X[::2], y[::2])
    explained = clf.explain(X[1:41:2], counterfactual=False)
    assert np.median([one.baseline_probabilities.max() for one in explained]) < 0.7
    assert np.median([(one.evidence - one.baseline_evidence) / one.evidence for one in explained]) > 0.75


def test_a_tie_of_two_classes_is_closer_than_one_of_many():
    two = torch.tensor([[0.59, 0.41], [0.61, 0.39]]).log()
    many = torch.tensor([[0.44, 0.15, 0.41], [0.46, 0.15, 0.39]]).log()
    rest = Rest(torch.zeros(2, dtype=torch.long), torch.ones(2, dtype=torch.bool))
    assert rest.reached(two).tolist() == [True, False]
    assert rest.reached(many).tolist() == [True, False]


def test_explanations_are_printed_in_a_line(explained):
    assert repr(explained[0]) == f"<Explanation: {explained[0].text}>"
    assert max(map(len, repr(explained[0].counterfactual).splitlines())) < 100


def test_images_of_an_explanation_are_on_one_scale(tiny, colour_images):
    X, y = colour_images
    clf = tiny().fit(X / 255, y)
    (one,) = clf.explain(X[:1], reference=(X, y), neutral=X[1])
    (same,) = clf.explain(X[:1] / 255, reference=(X / 255, y), neutral=X[1] / 255)
    near = [neighbour.image for found in one.neighbours.values() for neighbour in found]
    for image in (one.image, one.baseline, one.counterfactual.image, *near):
        assert image.dtype == np.float64
        assert image.max() <= 1
    np.testing.assert_allclose(one.pixel_map, same.pixel_map, atol=1e-6)
