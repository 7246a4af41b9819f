"""What stands in the page, and what does not."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from flowexpr import report
from flowexpr.baselines import pca_lda
from flowexpr.embedding import latents_of
from flowexpr.evaluation import EvaluationResult, cluster_scores, evaluate
from flowexpr.report import reliability
from flowexpr.report.faces import picture
from flowexpr.report.material import gather
from flowexpr.report.model import card_section

ALL = ["setting", "scores", "confusion", "people", "leakage", "reliability", "rejection"]
WITH_MODEL = [*ALL, "map", "morphs", "explanations", "training", "card"]


class Outline(HTMLParser):
    """The sections, scripts, pictures and addresses of a page, as a parser sees them."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.scripts, self.pictures, self.links = [], 0, 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "section":
            self.sections.append(attributes["id"])
        self.scripts += tag == "script"
        self.pictures += tag == "img"
        self.links += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]


@pytest.fixture(scope="module")
def page(evaluated, flow, tmp_path_factory):
    """Return the text of a page without faces."""
    X, names, result = evaluated
    path = tmp_path_factory.mktemp("page") / "report.html"
    return report.build(result, flow, path, X=X, names=names, skipped=[(names[0], "broken")]).read_text("utf-8")


def test_every_part_stands_in_the_page(page):
    assert Outline(page).sections == WITH_MODEL


def test_without_model_and_images_their_parts_are_left_out(evaluated, tmp_path):
    text = report.build(evaluated[2], None, tmp_path / "report.html").read_text("utf-8")
    assert Outline(text).sections == [*ALL, "card"]
    assert "morphs, explanations and untypical images need the images" in text
    assert "learning curves need a model" in text


def test_table_one_stands_in_the_page_where_it_is_given(evaluated, tmp_path):
    row = {"estimator": "flow", "classifier": "Extra Trees", "protocol": "subject", "map": "placed"}
    row |= {"accuracy": 0.7251, "accuracy_std": 0.01, "folds": 2, "paper": None}
    text = report.build(evaluated[2], None, tmp_path / "report.html", latent_table=[row]).read_text("utf-8")
    assert Outline(text).sections == [*ALL, "trees", "card"]
    assert '<td class="number">73 %</td>' in text


def test_scores_of_clusters_are_those_of_the_latents(page, evaluated, flow):
    X, _, result = evaluated
    pooled = result.predictions["flow", "subject"]
    order = np.argsort(pooled.index)
    rows = cluster_scores(
        latents_of(flow, X), pooled.y_true[order], subject=pooled.subject[order], clip=pooled.clip[order]
    )
    shown = re.search(r"How they gather.*?</table>", page, re.DOTALL)[0]
    assert f"{rows[0]['silhouette']:.2f}" in shown
    assert shown.count("within subject") == 2


def test_the_sentence_on_top_follows_what_leaks(draw_images, tmp_path):
    X, y = draw_images(n=24)
    result = evaluate(
        {"linear": pca_lda(n_components=2)}, X, y, subject=np.arange(24), protocols=["random"], n_splits=2
    )
    text = report.build(result, None, tmp_path / "report.html").read_text("utf-8")
    assert "Of people whom it had never seen" in text  # an image a person: random folds know nobody


@pytest.mark.parametrize(("shape", "size"), [((490, 640), (112, 86)), ((40, 40, 3), (40, 40))])
def test_pictures_are_as_large_as_they_are_shown(shape, size):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    source = picture(image)
    assert Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).size == size
    assert len(source) < 40_000


def test_numbers_are_those_of_the_result(page, evaluated):
    summary = evaluated[2].summary()
    for row in summary:
        assert f"{100 * row['accuracy']:.1f} %" in page
        low, high = row["accuracy_low"], row["accuracy_high"]
        assert ("all alike" if low == high else f"{100 * low:.1f} \u2013 {100 * high:.1f} %") in page
    shown = re.search(r'<table class="heat">(.*?)</table>', page, re.DOTALL)[1]
    shares = [int(cell) for cell in re.findall(r'<td[^>]*style="--share[^>]*>(\d+)</td>', shown)]
    matrix = evaluated[2].confusion_matrix("flow", "subject", normalize="true", average="folds")
    assert shares == [int(f"{100 * share:.0f}") for share in matrix.ravel()]


def test_labels_and_file_names_are_never_markup(page):
    assert "<script>window.broken" not in page
    assert Outline(page).scripts == 2  # the map's data and the page's own


def test_nothing_is_loaded_from_elsewhere(page):
    assert set(Outline(page).links) == {"data:,"}
    assert not re.search(r"https?://|@import|url\(", page)


def test_faces_are_left_out_unless_asked_for(page):
    assert "data:image" not in page
    assert "holds no image of a face" in page


def test_embedded_faces_come_with_a_warning(evaluated, flow, tmp_path):
    X, names, result = evaluated
    text = report.build(result, flow, tmp_path / "r.html", X=X, names=names, embed_faces=True).read_text("utf-8")
    assert "This file holds images of faces" in text
    assert text.count("data:image/jpeg") == 1
    # 12 unsure and 6 untypical ones, 4 people from neutral to 2 expressions, and one person at 4 strengths of both;
    # of 6 explained faces 3 pictures, and 5 on the way to another expression.
    assert Outline(text).pictures == 12 + 6 + 4 * 3 + 2 * 4 + 6 * (3 + 5)


def test_two_thousand_embedded_faces_stay_under_eight_megabytes(tmp_path):
    random = np.random.default_rng(0)
    y = np.arange(2000) % 6
    X = random.integers(0, 256, (2000, 48, 48, 3), dtype=np.uint8)  # noise: nothing compresses worse
    X[:, :8, :8] = (40 * y)[:, None, None, None]
    result = evaluate({"linear": pca_lda(n_components=5)}, X[:, ::6, ::6], y, n_splits=2)
    path = report.build(result, _Corner(), tmp_path / "report.html", X=X, embed_faces=True)
    assert path.read_text("utf-8").count("<use href") > 2000
    assert path.stat().st_size < 8e6


class _Corner:
    """A transformer that is quick to run on 2000 images."""

    def transform(self, X):
        return X[:, :8:4, :8:4].reshape(len(X), -1)


def test_explanations_are_those_of_the_model(page, evaluated, flow):
    X, names, result = evaluated
    told = page.split('<section id="explanations"')[1].split("</section>")[0]
    assert told.count('<article class="why">') == 6
    shown = [row for row, name in enumerate(names) if f"<h3>{row} " in told]
    assert set(shown) <= set(
        result.predictions["flow", "subject"].index[result.predictions["flow", "subject"].fold == 0]
    )
    for one in flow.explain(X[shown], pixel_map=False, counterfactual=False):
        assert f" by {one.text.split(' by ')[1].split(' nats')[0]} nats" in told


def test_explanations_are_of_the_decisions_of_a_model_from_elsewhere(evaluated, flow, tmp_path):
    X, _, result = evaluated
    copy = EvaluationResult.from_json(result.to_json())
    page = report.build(copy, flow, tmp_path / "r.html", X=X).read_text("utf-8")
    told = page.split('<section id="explanations"')[1].split("</section>")[0]
    assert "may have been trained on these images" in told
    for row, tag in re.findall(r"<h3>(\d+): .*?<span class=\"tag(?: bad)?\">(\w+)</span>", told):
        pooled = result.predictions["flow", "subject"]
        truth = pooled.y_true[pooled.index == int(row)][0]
        assert (flow.predict(X[[int(row)]])[0] == truth) == (tag == "right")
    said = [float(share) for share in re.findall(r"\(([\d.]+) %, not calibrated\)", told)]
    assert len(said) == 6


def test_people_who_are_all_alike_are_no_certainty(evaluated, tmp_path):
    X, _, result = evaluated
    right = {key: replace(one, y_pred=one.y_true) for key, one in result.predictions.items()}
    page = report.build(replace(result, predictions=right), None, tmp_path / "r.html", X=X).read_text("utf-8")
    headline = re.sub(r"<[^>]+>", "", page.split('<p class="lead">')[1].split("</p>")[0])
    assert "8 people, all alike, so that nothing tells how others would do" in headline
    assert "interval" not in headline


def test_mistakes_on_frames_of_one_clip_are_told_once(evaluated, flow, tmp_path):
    X, _, result = evaluated
    pooled = result.predictions["flow", "subject"]
    classes = result.classes
    wrong = (np.searchsorted(classes, pooled.y_true) + 1) % len(classes)
    # Frames of a clip are as sure as each other, those of a later one less so.
    sure = 0.95 - pooled.clip / 100
    proba = np.tile((1 - sure)[:, None] / (len(classes) - 1), len(classes))
    proba[np.arange(len(wrong)), wrong] = sure
    forged = replace(pooled, proba=proba, y_pred=classes[wrong])
    result = replace(result, predictions=result.predictions | {("flow", "subject"): forged})
    page = report.build(result, flow, tmp_path / "r.html", X=X).read_text("utf-8")
    told = page.split('<section id="explanations"')[1].split("</section>")[0]
    rows = [int(row) for row in re.findall(r"<h3>image (\d+)", told)]
    clips = np.array([pooled.clip[pooled.index == row][0] for row in rows])
    of_fold = np.unique(pooled.clip[pooled.fold == 0])
    assert clips.tolist() == of_fold[:3].tolist()


def test_bars_of_what_speaks_against_end_where_those_of_what_speaks_for_begin(page):
    told = page.split('<section id="explanations"')[1].split("</section>")[0]
    bar = r'([+-][\d.]+)</td><td class="bar"><span class="(for|contra)" style="margin-left: ([\d.]+)%; width: ([\d.]+)%'
    for table in told.split("<caption>Evidence")[1:]:
        bars = [(float(nats), kind, float(begin), float(long)) for nats, kind, begin, long in re.findall(bar, table)]
        assert bars
        (zero,) = {round(begin + long * (kind == "contra")) for _, kind, begin, long in bars}
        assert all(0 <= begin <= begin + long <= 100.1 for _, _, begin, long in bars)
        assert all((nats > 0) == (kind == "for") for nats, kind, _, _ in bars if nats)
        assert zero == 0 or any(kind == "contra" for _, kind, _, _ in bars)


def test_rows_of_pixels_are_explained_as_faces(evaluated, flow, tmp_path):
    X, _, result = evaluated
    rows = X.reshape(len(X), -1)
    copy = EvaluationResult.from_json(result.to_json())
    page = report.build(copy, flow, tmp_path / "r.html", X=rows, embed_faces=True).read_text("utf-8")
    told = page.split('<section id="explanations"')[1].split("</section>")[0]
    assert told.count('<article class="why">') == 6
    assert "data:image/png" in told


def test_people_new_to_the_model_are_marked(page, evaluated, flow, tmp_path):
    X, _, result = evaluated
    unseen = int(np.sum(result.predictions["flow", "subject"].fold == 0))
    assert len(re.findall(r'class="s\d unseen"', page)) == unseen
    copy = EvaluationResult.from_json(result.to_json())
    other = report.build(copy, flow, tmp_path / "r.html", X=X).read_text("utf-8")
    assert " unseen" not in re.sub(r"<script.*?</script>|<style.*?</style>", "", other, flags=re.DOTALL)


def test_a_page_of_random_folds_speaks_of_no_new_people(evaluated, tmp_path):
    X, _, result = evaluated
    known = EvaluationResult(
        classes=result.classes,
        folds=[row for row in result.folds if row.protocol == "random"],
        predictions={key: of for key, of in result.predictions.items() if key[1] == "random"},
        settings=result.settings | {"protocols": ["random"]},
        leakage={"random": result.leakage["random"]},
        estimators={key: of for key, of in result.estimators.items() if key[1] == "random"},
    )
    model = known.estimators["flow", "random"][0]
    page = report.build(known, model, tmp_path / "r.html", X=X).read_text("utf-8")
    assert "people whom the model has not seen" not in page
    assert "people new to the model" not in page
    assert "rings mark the images that it has not seen" in page
    assert "faces in images that the model has not seen" in page


def test_the_least_typical_images_are_listed(page, evaluated, flow):
    least = int(np.argmin(flow.typicality(evaluated[0])))
    listed = page.split("The least typical images")[1]
    assert listed.index(f'<td class="name">{least} ') < listed.index("</tr>", listed.index("<tbody>"))


def test_without_subjects_the_number_is_put_in_its_place(draw_images, tmp_path):
    X, y = draw_images(n=24)
    result = evaluate({"linear": pca_lda(n_components=2)}, X, y, protocols=["random"], n_splits=2)
    text = report.build(result, None, tmp_path / "report.html").read_text("utf-8")
    assert "may have known from training" in text
    assert "says nothing about new people" in text
    assert "people" not in Outline(text).sections


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": np.zeros((3, 16, 16))}, "X was expected to hold the 48 samples that were evaluated.*holds 3"),
        ({"names": ["a"]}, "names was expected to hold the 48 samples"),
        ({"embed_faces": True}, "embed_faces=True needs the images, but X is None"),
    ],
)
def test_wrong_input_is_told(evaluated, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        report.build(evaluated[2], None, tmp_path / "report.html", **arguments)
    assert not (tmp_path / "report.html").exists()


def test_the_least_sure_predictions_are_listed(page, evaluated):
    pooled = evaluated[2].predictions["flow", "subject"]
    least = int(pooled.index[pooled.proba.max(1).argmin()])
    listed = page.split("The least sure predictions of")[1]
    assert listed.index(f'<td class="name">{least} ') < listed.index("</tr>", listed.index("<tbody>"))


def test_accuracy_of_the_surest_half(page, evaluated):
    pooled = evaluated[2].predictions["flow", "subject"]
    right = pooled.y_true == pooled.y_pred
    surest = right[np.argsort(-pooled.proba.max(1), kind="stable")[:24]]
    table = page.split("Accuracy of the surest predictions")[1]
    row = re.search(r'<th scope="row">50\s*%</th><td class="number">([\d.]+) %', table)
    assert row[1] == f"{100 * surest.mean():.1f}"
    assert surest.mean() != right.mean()


def test_too_sure_is_told_from_too_cautious(page, evaluated):
    pooled = evaluated[2].predictions["flow", "subject"]
    gap = 100 * (pooled.proba.max(1).mean() - np.mean(pooled.y_true == pooled.y_pred))
    assert f"on average {abs(gap):.1f} points too {'sure' if gap > 0 else 'cautious'}." in page


def test_chance_is_the_share_of_the_most_frequent_expression(tmp_path):
    X, y = np.random.default_rng(0).integers(0, 255, (30, 8, 8), dtype=np.uint8), np.arange(30) % 10 // 7
    result = evaluate({"linear": pca_lda()}, X, y, subject=np.arange(30) // 10, protocols=["subject"], n_splits=3)
    page = report.build(result, None, tmp_path / "r.html").read_text("utf-8")
    assert "Always naming the most frequent expression would be right in 70 %" in page


def test_the_curve_of_accuracies_counts_what_is_kept(evaluated):
    result = evaluated[2]
    pooled = result.predictions["flow", "subject"]
    right = (pooled.y_true == pooled.y_pred)[np.argsort(-pooled.proba.max(1), kind="stable")]
    material = gather(result, None, None, None, (), None, False, 0)
    curve = reliability._curve(material, "flow", 0)
    kept = np.round(np.asarray(curve.x) * len(right)).astype(int)
    np.testing.assert_allclose(curve.y, (np.cumsum(right) / np.arange(1, len(right) + 1))[kept - 1])


def test_the_card_names_the_best_and_the_worst_recognised(evaluated, flow):
    result = evaluated[2]
    content = card_section(gather(result, flow, None, None, (), None, False, 0)).content
    pooled = result.pooled("flow", "subject")  # as the card says: the images of all folds together
    recalls = [np.mean(pooled.y_pred[pooled.y_true == label] == label) for label in result.classes]
    assert content["worst"][1] == pytest.approx(min(recalls))
    assert content["best"][1] == pytest.approx(max(recalls))
