"""The page in a real browser: it loads nothing, complains of nothing, and its map answers pointer and keyboard."""

import io
import subprocess

import numpy as np
import pytest
from browser import Browser, find_browser
from PIL import Image

from flowexpr import report

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Return a running browser."""
    running = Browser(find_browser(), tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def address(evaluated, flow, tmp_path_factory):
    """Return the address of a page with embedded faces."""
    X, names, result = evaluated
    path = tmp_path_factory.mktemp("page") / "report.html"
    skipped = [(names[0], "broken")]
    return report.build(result, flow, path, X=X, names=names, skipped=skipped, embed_faces=True).as_uri()


def _point(browser, number):
    """Return where a point of the map stands in the window."""
    return browser.evaluate(
        f"""(() => {{
            const mark = document.getElementById("map-points").children[{number}];
            mark.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = mark.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
    )


def _card(browser):
    return browser.evaluate("document.getElementById('map-card').innerText")


def _chosen(browser):
    return browser.evaluate("[...document.getElementById('map-points').children].findIndex(m => m.matches('.chosen'))")


def _zoom(browser):
    return float(browser.evaluate("document.getElementById('map-plot').dataset.zoom"))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1400])
def test_opens_without_complaint_or_request_and_fits_the_window(browser, address, width, dark):
    browser.open(address, width=width, dark=dark)
    assert browser.complaints == []
    assert browser.requests == [address]
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate("window.broken") is None
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(browser, address, dark):
    browser.open(address, dark=dark)
    colours = browser.evaluate(
        """(() => { const style = getComputedStyle(document.documentElement);
        return Object.fromEntries(["paper", "panel", "ink", "quiet", "accent", "bad"].map(
            name => [name, style.getPropertyValue("--" + name).trim()])); })()"""
    )
    for text in ("ink", "quiet", "accent", "bad"):
        for ground in ("paper", "panel"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def _contrast(one, other):
    """Return the contrast ratio of two colours as WCAG defines it."""
    channels = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in (one, other)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    low, high = np.sort(linear @ [0.2126, 0.7152, 0.0722])
    return (high + 0.05) / (low + 0.05)


def test_hover_shows_the_face_and_its_probabilities(browser, address, evaluated):
    browser.open(address)
    browser.mouse("mouseMoved", *_point(browser, 7))
    chosen = _chosen(browser)
    assert chosen >= 0
    pooled = evaluated[2].predictions["flow", "subject"]
    proba = pooled.proba[np.flatnonzero(pooled.index == chosen)[0]]
    shown = browser.evaluate(
        "[...document.querySelectorAll('#map-card dd:not(.bar)')].map(cell => parseInt(cell.innerText))"
    )
    np.testing.assert_allclose(shown, 100 * proba, atol=0.6)
    assert str(pooled.subject[pooled.index == chosen][0]) in _card(browser)
    assert browser.evaluate(
        "getComputedStyle(document.querySelector('#map-card .face')).backgroundImage.slice(0, 15)"
    ) == ('url("data:image')


def test_the_face_shown_is_that_image(browser, address, evaluated, tmp_path):
    browser.open(address)
    browser.mouse("mouseMoved", *_point(browser, 4))
    chosen = _chosen(browser)
    box = browser.evaluate("JSON.parse(JSON.stringify(document.querySelector('.face').getBoundingClientRect()))")
    browser.screenshot(tmp_path / "page.png", whole=False)
    with Image.open(tmp_path / "page.png") as shot:
        region = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
        seen = np.asarray(shot.convert("L").crop(tuple(map(round, region))).resize((16, 16), Image.Resampling.BOX))
    distances = [np.corrcoef(seen.ravel(), image.ravel())[0, 1] for image in evaluated[0]]
    assert int(np.argmax(distances)) == chosen


def test_the_map_works_by_keyboard(browser, address):
    browser.open(address)
    browser.evaluate("document.getElementById('map-reset').focus()")
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.id") == "map-plot"
    browser.press("ArrowRight")
    first = _chosen(browser)
    browser.press("ArrowLeft")
    assert first >= 0
    assert _chosen(browser) not in (-1, first)
    assert "%" in _card(browser)
    browser.press("+")
    assert _zoom(browser) > 1
    before = _point(browser, 0)
    browser.press("ArrowRight", shift=True)
    assert _point(browser, 0)[0] < before[0]
    browser.press("0")
    assert _zoom(browser) == 1
    browser.press("Escape")
    assert _chosen(browser) == -1


def test_the_map_zooms_and_pans_by_pointer(browser, address):
    browser.open(address)
    x, y = _point(browser, 3)
    browser.mouse("mouseWheel", x, y, delta=-300, ctrl=True)
    browser.evaluate("new Promise(done => setTimeout(done, 100))")
    assert _zoom(browser) > 1.5
    before = _point(browser, 3)
    browser.mouse("mousePressed", *before)
    browser.mouse("mouseMoved", before[0] + 30, before[1] + 20)
    browser.mouse("mouseReleased", before[0] + 30, before[1] + 20)
    after = browser.evaluate(
        "(() => { const b = document.getElementById('map-points').children[3].getBoundingClientRect();"
        " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    assert np.hypot(after[0] - before[0], after[1] - before[1]) > 5


def test_colours_and_people_can_be_chosen(browser, address):
    browser.open(address)
    change = (
        "(() => {{ const s = document.getElementById('{}'); s.value = '{}'; s.dispatchEvent(new Event('change')); }})()"
    )
    browser.evaluate(change.format("map-colour", "right"))
    assert browser.evaluate("document.getElementById('map-legend').innerText.split(/\\s+/)") == ["right", "wrong"]
    browser.evaluate(change.format("map-subject", "0"))
    assert browser.evaluate("document.querySelectorAll('#map-points :not(.faint)').length") == 6


def test_every_control_is_reached_by_tab(browser, address):
    browser.open(address)
    expected = browser.evaluate(
        "document.querySelectorAll('a[href], button, select, summary, [tabindex=\"0\"]').length"
    )
    reached = set()
    for _ in range(2 * expected):
        browser.press("Tab")
        reached.add(
            browser.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
            if browser.evaluate("document.activeElement.matches('a[href], button, select, summary, [tabindex=\"0\"]')")
            else None
        )
    assert len(reached - {None}) == expected


def test_prints_everything_unfolded(browser, address, tmp_path):
    browser.open(address, dark=True)
    printed = browser.pdf()
    assert printed[:5] == b"%PDF-"
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == 0  # folded again afterwards
    try:
        text = subprocess.run(["pdftotext", "-", "-"], input=printed, capture_output=True, check=True).stdout.decode()
    except FileNotFoundError:
        pytest.skip("pdftotext is not installed")
    assert "Every fold" in text
    assert "Colour by" not in text
    assert len(io.BytesIO(printed).getvalue()) < 4e6
