"""The pages for everyone: contrast, headings, names, and everything by keyboard.

What axe-core finds by measuring is held here by what it found: a region that scrolls has to be reached by keyboard, and
a label be on something that may have one.
"""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from app.compare.command import OUT
from tests.app.commands import Output, run
from tests.app.test_compare import GRID
from tests.browser import Browser, browser, chromium
from tests.experiments import write_experiment
from tests.project import resolve_settings
from tests.stages.test_report import report, write_outputs

__all__ = ["browser", "chromium"]
ROOT = Path(__file__).parents[2]
STYLE = ROOT / "templates/report/style.css"
MIN_TEXT_CONTRAST, MIN_GRAPHICS_CONTRAST = 4.5, 3.0  # WCAG 2.2, success criteria 1.4.3 and 1.4.11
VOID = {"meta", "img", "input", "link", "br", "path", "circle", "line"}
MAY_BE_LABELLED = {"section", "nav", "aside", "table", "ul", "form", "dialog", "input", "button", "a", "select", "svg"}


@pytest.fixture(params=["comparison", "report"])
def page(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> Path:
    """The path of a page with several runs."""
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    if request.param == "report":
        resolve_settings()
        write_outputs(2)
        path = tmp_path / "report.html"
        path.write_text(report())
        return path
    write_experiment(tmp_path, GRID)
    run(capsys, "compare")
    return tmp_path / OUT / "index.html"


def palettes() -> Iterator[tuple[str, dict[str, str]]]:
    """The colours by the name of their variable; one that is left out in the dark or on paper is the first one's."""
    found = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    tables = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", text)) for text in found]
    for name, colours in zip(("light", "dark", "print"), tables, strict=True):
        yield name, tables[0] | colours


def contrast(one: str, other: str) -> float:
    """By WCAG 2.2, "contrast ratio" and "relative luminance"."""
    low, high = sorted(luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("name", "colours"), list(palettes()))
def test_text_and_lines_stand_out_from_what_is_behind_them(name: str, colours: dict[str, str]) -> None:
    for behind in ("paper", "card", "tint"):
        for text in ("ink", "quiet", "accent"):
            assert contrast(colours[text], colours[behind]) >= MIN_TEXT_CONTRAST, (name, text, behind)
    assert contrast(colours["on-accent"], colours["accent"]) >= MIN_TEXT_CONTRAST
    for i in range(6):
        assert contrast(colours[f"series-{i}"], colours["card"]) >= MIN_GRAPHICS_CONTRAST, (name, i)


def test_the_measure_of_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


class Elements(HTMLParser):
    """Each element with its attributes, the tags around it and the text in it."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str], list[str]]] = []
        self.texts: list[list[str]] = []
        self.open: list[int] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        around = [self.all[i][0] for i in self.open]
        self.all.append((tag, {name: value or "" for name, value in attrs}, around))
        self.texts.append([])
        if tag not in VOID:
            self.open.append(len(self.all) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.all[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for i in self.open:
            self.texts[i].append(data)


def test_the_page_is_built_so_that_it_can_be_heard(page: Path) -> None:
    elements = Elements(page.read_text())
    levels = [int(tag[1]) for tag, _, _ in elements.all if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    ids = [attributes["id"] for _, attributes, _ in elements.all if "id" in attributes]
    assert len(ids) == len(set(ids))
    for (tag, attributes, around), text in zip(elements.all, elements.texts, strict=True):
        classes = attributes.get("class", "").split()
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes.get("aria-hidden") or (attributes["role"] == "img" and attributes["aria-label"])
        if tag in ("button", "a", "summary", "title", "h2", "h3"):
            assert "".join(text).strip()
        if tag in ("input", "select"):
            assert "label" in around
        if tag == "pre" or {"scroll", "wide"} & {*classes}:
            assert attributes.get("tabindex") == "0", (tag, attributes)
        if "aria-label" in attributes:
            assert tag in MAY_BE_LABELLED or "role" in attributes, (tag, attributes)


# -- by a browser

NAMELESS = """[...document.querySelectorAll('button, input, select, [role=application]')].filter(e => e.offsetParent &&
    !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.querySelector('img[alt]'))).length"""
STOPS = """[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
    .filter(e => e.tabIndex >= 0 && e.checkVisibility() && !e.closest('details:not([open]) > :not(summary)'))"""


def test_the_tab_key_goes_through_the_page_in_its_order_and_out_again(page: Path, browser: Browser) -> None:
    browser.open(page.as_uri(), "document.readyState === 'complete'")
    assert browser.evaluate(NAMELESS) == 0
    wanted = browser.evaluate(f"window.stops = {STOPS}; stops.length")
    assert wanted > 10
    visited = []
    for _ in range(wanted):
        for kind in ("rawKeyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        visited.append(browser.evaluate("stops.indexOf(document.activeElement)"))
    assert visited == list(range(wanted))


def test_who_wants_no_motion_has_none(page: Path, browser: Browser) -> None:
    wish = {"name": "prefers-reduced-motion", "value": "reduce"}
    browser.call("Emulation.setEmulatedMedia", features=[wish])
    browser.open(page.as_uri(), "document.readyState === 'complete'")
    assert browser.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    moving = "[...document.querySelectorAll('*')].map(e => getComputedStyle(e))"
    moving += ".filter(s => s.transitionDuration !== '0s' || s.animationName !== 'none').length"
    assert browser.evaluate(moving) == 0


@pytest.mark.parametrize("width", [1300, 390])
def test_the_page_fits_a_desk_and_a_phone(page: Path, browser: Browser, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.open(page.as_uri(), "document.readyState === 'complete'")
    page_width, room = (browser.evaluate(f"document.documentElement.{name}Width") for name in ("scroll", "client"))
    assert page_width <= room <= width
