"""Whose neighbours are alike, on points whose clusters are known."""

import numpy as np
import pytest
from sklearn import config_context

from flowexpr.evaluation import cluster_scores


def points(of_subject, of_expression, noise=0.1):
    """4 people with 3 expressions of 2 clips of 3 frames; person and expression move a point by so much."""
    random = np.random.default_rng(0)
    subject, y, clip = (each.ravel().repeat(3) for each in np.meshgrid(range(4), range(3), range(2), indexing="ij"))
    places = random.normal(0, noise, (len(y), 8))
    places[np.arange(len(y)), subject] += of_subject
    places[np.arange(len(y)), 4 + y] += of_expression
    return places, y, subject, clip + 2 * y


def scores(*of):
    places, y, subject, clip = points(*of)
    return {row["groups"]: row for row in cluster_scores(places, y, subject=subject, clip=clip)}


def test_clusters_of_people_with_expressions_apart_inside():
    found = scores(10, 3)
    assert found["subject"]["purity"] == found["expression within subject"]["purity"] == 1
    assert found["subject"]["silhouette"] > 0.5 > found["expression"]["silhouette"]
    assert found["expression within subject"]["silhouette"] > 0.8


def test_clusters_of_expressions():
    found = scores(1, 10)
    assert found["expression"]["purity"] == 1
    assert found["expression"]["silhouette"] > 0.5 > found["subject"]["silhouette"]


def test_noise_is_as_pure_as_chance_says():
    found = scores(0, 0)
    for row in found.values():
        assert abs(row["purity"] - row["chance"]) < 0.2
        assert abs(row["silhouette"]) < 0.2


def test_frames_of_one_clip_are_no_neighbours():
    places, y, subject, clip = points(0, 0, noise=0.0)
    places[:, 7] += clip + 10 * subject  # every clip a place of its own
    with_clips = cluster_scores(places, y, subject=subject, clip=clip)[0]
    without = cluster_scores(places, clip + 10 * subject, subject=subject)[1]
    assert without["purity"] == 1
    assert cluster_scores(places, clip + 10 * subject, subject=subject, clip=clip)[1]["purity"] is None
    assert with_clips["chance"] == pytest.approx((18 - 3) / (72 - 3))


def test_one_left_out_subject_has_expressions_only():
    places, y, subject, _ = points(0, 10)
    own = subject == 0
    rows = cluster_scores(places[own], y[own], subject=subject[own])
    assert rows[0]["silhouette"] is None
    assert rows[1]["purity"] == rows[2]["purity"] == 1


def test_purity_is_unknown_where_no_neighbour_can_be_right():
    places, y, subject, _ = points(3, 3)
    rows = {row["groups"]: row for row in cluster_scores(places, y, subject=subject, clip=y)}
    assert rows["expression within subject"]["purity"] is rows["expression within subject"]["chance"] is None
    assert rows["expression within subject"]["silhouette"] > 0.5
    assert rows["expression"]["purity"] is not None


def test_distances_in_chunks_give_the_same():
    places, y, subject, clip = points(3, 2, noise=1.0)
    with config_context(working_memory=0.002):  # MiB: three rows of distances
        in_chunks = cluster_scores(places, y, subject=subject, clip=clip)
    for row, other in zip(in_chunks, cluster_scores(places, y, subject=subject, clip=clip), strict=True):
        assert row == pytest.approx(other)
