"""The page in a real browser: from disk, without a network, sorted, filtered, on a phone, in the dark."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.statistics.ranking import Ranking
from reports.page.html import write_report
from tests.reports.page.pages import HOSTILE, write_everything

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shown(drawn: tuple[Path, Ranking], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Ranking]:
    """The report of a run with everything that it can show, and the ranking that it shows."""
    folder = shutil.copytree(drawn[0], tmp_path_factory.mktemp("browser") / "run")
    ranking = write_everything(folder, drawn[1])
    return write_report(folder, ranking).as_uri(), ranking


@pytest.fixture(scope="module")
def address(shown: tuple[str, Ranking]) -> str:
    return shown[0]


@pytest.fixture(scope="module")
def ranking(shown: tuple[str, Ranking]) -> Ranking:
    return shown[1]


@pytest.fixture
def open_page(browser, address: str) -> Callable:
    """Open the page afresh at a width, in a colour scheme; the logs hold nothing from before."""

    def go(width: int = 1280, scheme: str = "light", media: str = ""):
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # a click waits for no scrolling
        ]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        browser.get("about:blank")
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get(address)
        return browser

    return go


def rows(browser) -> list[int]:
    """Labels of the visible rows, in order."""
    script = (
        "return [...document.querySelectorAll('#ranking tbody tr:not([hidden])')].map(r => r.id.slice(4))"
    )
    return [int(label) for label in browser.execute_script(script)]


def press(browser, selector: str, key: str = "") -> None:
    """Click, or focus and press a key."""
    from selenium.webdriver.common.by import By

    element = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    if key:
        element.send_keys(key)
    else:
        element.click()


def test_it_opens_from_disk_without_requests_or_complaints(open_page, address):
    browser = open_page()
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert address in asked
    assert [url for url in asked if url != address and not url.startswith("data:")] == []
    assert browser.get_log("browser") == []
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0


def test_hostile_class_names_are_inert(open_page):
    browser = open_page()
    assert browser.title.startswith("Audit of")
    assert browser.execute_script("return document.scripts.length") == 1
    assert browser.execute_script("return document.querySelectorAll('[onerror]').length") == 0
    shown = browser.execute_script("return document.querySelector('#row-0 .name').textContent")
    assert shown == HOSTILE[0]


@pytest.mark.parametrize("column", ["n", "effect", "adjusted_lift", "high", "q_relative", "ratio"])
def test_sorting(open_page, ranking, column):
    browser = open_page()
    expected = ranking.table.sort_values(column, kind="stable")["label"].tolist()
    press(browser, f".c-{column} button")
    found = rows(browser)
    values = ranking.table.set_index("label")[column]
    # the page shows rounded figures: what rounds to the same stays in the order of the ranking
    assert values.loc[found].round(2).tolist() == values.loc[expected].round(2).tolist()
    sort = "return document.querySelector(arguments[0]).getAttribute('aria-sort')"
    assert browser.execute_script(sort, f".c-{column}") == "ascending"
    assert browser.execute_script(sort, ".c-rank") == "none"
    press(browser, f".c-{column} button")
    assert values.loc[rows(browser)].round(2).tolist() == values.loc[expected[::-1]].round(2).tolist()
    assert browser.execute_script(sort, f".c-{column}") == "descending"


def test_sorting_by_keyboard_and_by_name(open_page, ranking):
    browser = open_page()
    press(browser, ".c-class_name button", "\ue007")  # Enter
    names = ranking.table.set_index("label")["class_name"]
    plain = [n for n in names.loc[rows(browser)] if n.startswith("class ")]
    assert plain == sorted(plain)
    press(browser, ".c-rank button", " ")
    assert rows(browser) == ranking.table["label"].tolist()


def test_filtering_by_name_and_verdict(open_page, ranking):
    browser = open_page()
    everything = ranking.table["label"].tolist()
    press(browser, "#find", "class 01")
    assert rows(browser) == [k for k in everything if k in (10, 11)]
    assert browser.execute_script("return shown.textContent") == "2 of 12 classes"
    press(browser, "#find", "\ue003" * 8 + "nothing of that name")
    assert rows(browser) == []
    assert browser.execute_script("return !document.querySelector('.nothing').hidden")
    press(browser, "#find", "\ue003" * 20)
    press(browser, ".toggle[data-verdict='confirmed']")
    assert rows(browser) == [k for k in everything if k not in (0, 4, 7)]
    # a link from elsewhere brings a hidden row back
    browser.execute_script("location.hash = '#row-7'")
    browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0]))")
    assert rows(browser) == everything


def address_of(browser) -> str:
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    return browser.execute_script("return location.hash")


def test_what_the_table_shows_is_in_the_address_and_comes_back_from_it(open_page, address, ranking):
    browser = open_page()
    everything = ranking.table["label"].tolist()
    press(browser, "a[data-only='confirmed']")
    confirmed = ranking.table.loc[ranking.table["verdict"] == "confirmed", "label"].tolist()
    assert rows(browser) == confirmed
    assert address_of(browser) == "#table?verdict=confirmed"
    assert browser.execute_script("return !reset.hidden")
    press(browser, ".c-n button")
    assert address_of(browser) == "#table?verdict=confirmed&sort=n"
    shown = rows(browser)
    browser.get("about:blank")
    browser.get(f"{address}#table?verdict=confirmed&sort=n")
    assert rows(browser) == shown
    press(browser, "#reset")
    assert sorted(rows(browser)) == sorted(everything)
    assert address_of(browser) == "#table?sort=n"
    assert browser.execute_script("return reset.hidden")


def test_nothing_that_can_be_pressed_lies_inside_a_picture(open_page):
    """What axe-core calls nested-interactive (WCAG 2.2, 4.1.2)."""
    inside = "return document.querySelectorAll('[role=img] a, [role=img] button, button a, a button').length"
    assert open_page().execute_script(inside) == 0


def test_a_class_is_led_to_by_its_label(open_page, address, ranking):
    """Its card at the top of the window; its row, where it has no card."""
    browser = open_page()
    cards = browser.execute_script(
        "return [...document.querySelectorAll('[id^=card-]')].map(c => c.id.slice(5))"
    )
    other = next(k for k in ranking.table["label"] if str(k) not in cards)
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    for label, place in ((cards[-1], f"#card-{cards[-1]}"), (other, f"#row-{other}")):
        browser.get("about:blank")
        browser.get(f"{address}#class-{label}")
        browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
        assert 0 <= browser.execute_script(top, place) < 800


def test_pictures_enlarge_and_close(open_page):
    browser = open_page()
    press(browser, ".zoomable")
    assert browser.execute_script("return zoom.open && zoom.querySelectorAll('img').length === 2")
    press(browser, "#zoom", "\ue00c")  # Escape
    assert not browser.execute_script("return zoom.open")


SPILL = """
const width = arguments[0];  // not innerWidth: a phone zooms out until what spills fits
const spill = [];
const clipped = e => (e = e.parentElement) && (getComputedStyle(e).overflowX !== 'visible' || clipped(e));
for (const e of document.body.querySelectorAll('*')) {
  const box = e.getBoundingClientRect();
  if (box.width && box.right > width + 1 && !clipped(e))
    spill.push(`${e.tagName}.${e.className} in ${e.parentElement.className}, right ${Math.round(box.right)}`);
}
return [document.documentElement.scrollWidth - width, spill];
"""


@pytest.mark.parametrize("width", [320, 375, 768, 1024, 1920])
def test_no_width_makes_the_page_scroll_sideways(open_page, width):
    over, spill = open_page(width).execute_script(SPILL, width)
    assert spill == []
    assert over <= 0


CONTRAST = """
const number = c => c.match(/[\\d.]+/g).map(Number);
const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = c => [.2126, .7152, .0722].reduce((sum, k, i) => sum + k * linear(c[i] / 255), 0);
const ground = e => {
  for (; e; e = e.parentElement) {
    const c = number(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c;
  }
  return [255, 255, 255];
};
const bad = new Set();
const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const e = walk.currentNode.parentElement, style = getComputedStyle(e);
  if (!walk.currentNode.textContent.trim() || !e.getClientRects().length) continue;
  const ink = e.closest('svg') ? style.fill : style.color;
  const [a, b] = [light(number(ink)), light(ground(e))].sort((x, y) => y - x);
  const large = parseFloat(style.fontSize) >= 24;
  if ((a + .05) / (b + .05) < (large ? 3 : 4.5)) bad.add(e.outerHTML.slice(0, 80));
}
return [...bad];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(open_page, scheme):
    """WCAG 2.2 AA: contrast of 4.5, 3 for large text."""
    browser = open_page(scheme=scheme)
    assert browser.execute_script(CONTRAST) == []
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(250, 249, 246)") == (scheme == "light")


def test_it_prints_whole_and_without_its_controls(open_page):
    browser = open_page(media="print")
    hidden = "return ['nav', '.controls'].map(s => getComputedStyle(document.querySelector(s)).display)"
    assert browser.execute_script(hidden) == ["none", "none"]
    cut = "const t = document.querySelector('.scroll.table'); return t.scrollHeight - t.clientHeight"
    assert browser.execute_script(cut) <= 1
    assert browser.execute_cdp_cmd("Page.printToPDF", {})["data"].startswith("JVBERi")  # %PDF


def test_the_verdict_takes_the_first_printed_page_and_the_classes_follow(open_page, tmp_path):
    """A4: what is said of the run, then a strip for each class, and no page that is left nearly empty."""
    pypdfium2 = pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed")
    printed = open_page().execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    document = pypdfium2.PdfDocument(base64.b64decode(printed["data"]))
    pages = [page.get_textpage().get_text_bounded() for page in document]
    assert "What to do next" in pages[0]
    assert "The classes in pictures" in pages[1]
    assert pages[1].count("confirmed") >= 3


def test_headings_regions_and_tables_are_marked_up(open_page):
    browser = open_page()
    script = """
    const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map(h => +h.tagName[1]);
    return {
      skipped: levels.filter((l, i) => i && l > levels[i - 1] + 1).length,
      first: levels[0], ones: levels.filter(l => l === 1).length,
      scopeless: document.querySelectorAll('th:not([scope])').length,
      nameless: [...document.querySelectorAll('button, [role=region], a')].filter(
        e => !(e.textContent.trim() || e.ariaLabel)).length,
      unlabelled: [...document.querySelectorAll('input')].filter(i => !i.labels.length).length,
      language: document.documentElement.lang,
    }"""
    assert browser.execute_script(script) == {
        "skipped": 0,
        "first": 1,
        "ones": 1,
        "scopeless": 0,
        "nameless": 0,
        "unlabelled": 0,
        "language": "en",
    }


def shown_shots(browser, name: str) -> list[str]:
    """This attribute of the visible images of the class that was picked, in their order."""
    script = (
        f"return [...document.querySelectorAll('#gallery .shot:not([hidden])')].map(s => s.dataset.{name})"
    )
    return browser.execute_script(script)


def test_the_images_of_a_class_are_picked_sorted_and_filtered(browser, open_page, ranking) -> None:
    from selenium.webdriver.support.select import Select

    open_page()
    assert not shown_shots(browser, "file")
    browser.find_element("css selector", "#row-7 td a[href='#images-7']").click()
    lifts = [float(v) for v in shown_shots(browser, "lift") if v]
    expected = sorted(ranking.images.query("label == 7")["adjusted_lift"])
    assert lifts == pytest.approx(expected, abs=1e-4)
    Select(browser.find_element("css selector", "#gallery .by")).select_by_value("-p")
    sure = [float(v) for v in shown_shots(browser, "p") if v]
    assert sure == sorted(sure, reverse=True)
    browser.find_element("css selector", "#gallery .kind[data-kind='right']").click()
    assert "right" not in shown_shots(browser, "kind")
    Select(browser.find_element("id", "pick")).select_by_value("0")
    assert browser.execute_script("return location.hash") == "#images-0"
    assert len(shown_shots(browser, "file")) == 30
    browser.find_element("css selector", "#gallery .zoomable").click()
    assert browser.execute_script("return document.querySelectorAll('#zoom[open] .frame').length") == 2
    assert not browser.get_log("browser")


def test_a_phone_folds_what_is_not_the_answer_and_links_open_it(open_page) -> None:
    browser = open_page(width=390)

    def height(selector: str) -> int:
        return browser.execute_script(f"return document.querySelector({selector!r}).offsetHeight")

    folded = browser.execute_script("return document.documentElement.scrollHeight")
    assert height("#reading dl") == 0
    browser.execute_script("document.querySelector('nav a[href=\"#reading\"]').click()")
    assert height("#reading dl") > 500
    heading = browser.find_element("css selector", "#reading .fold")
    assert heading.get_attribute("aria-expanded") == "true"
    browser.execute_script("arguments[0].click()", heading)
    assert height("#reading dl") == 0
    hidden = browser.execute_script("return document.querySelector('.others article').id")
    assert height(f"#{hidden}") == 0
    browser.execute_script(f"document.querySelector('#row-{hidden[5:]} a').click()")
    assert height(f"#{hidden}") > 300
    everything = "document.querySelectorAll('section.folded .fold').forEach(b => b.click())"
    browser.execute_script(everything)
    whole = browser.execute_script("return document.documentElement.scrollHeight")
    assert folded < 0.6 * whole
    browser = open_page(width=1280)
    assert height("#reading dl") > 300
    assert not browser.find_elements("css selector", ".fold")
