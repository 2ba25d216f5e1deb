"""A reviewer in a real browser: decides, is overtaken, draws with mouse, finger and keys, on a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.inputs.datasets.annotations import read_boxes
from pipeline.statistics.ranking import rank
from reports.decisions.file import load_decisions
from tests.axe import violations
from tests.reports.page.pages import HOSTILE
from tests.reports.review.conftest import Served

pytestmark = pytest.mark.browser


@pytest.fixture
def open_review(browser, served: Served) -> Callable:
    def go(width: int = 1280, height: int = 900):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.delete_all_cookies()
        browser.get("about:blank")
        browser.get_log("browser")
        browser.get(served.keys.address)
        wait(browser, "document.getElementById('classes')?.children.length === 12")
        return browser

    return go


def wait(browser, condition: str) -> None:
    """Until a condition holds. Raises what the browser raises after its time for scripts."""
    browser.execute_async_script(
        "const done = arguments[0], look = () => { if ("
        + condition
        + ") done(); else setTimeout(look, 20); };"
        "look();"
    )


def decide(browser, word: str, reason: str) -> None:
    browser.execute_script(
        "document.querySelector(`[value=${arguments[0]}]`).click();"
        "document.getElementById('reason').value = arguments[1];"
        "document.getElementById('form').requestSubmit();",
        word,
        reason,
    )


def test_a_reviewer_decides_class_after_class(open_review, served):
    browser = open_review()
    assert browser.current_url == f"{served.keys.origin}/"  # the token is gone from the address
    assert browser.execute_script("return document.cookie") == ""
    assert browser.execute_script("return document.getElementById('name').textContent") == HOSTILE[0]
    browser.execute_script("document.getElementById('tags').value = ' water,, <i>hands '")
    decide(browser, "legitimate_context", "<b>water</b>")
    wait(browser, "document.getElementById('said').textContent.startsWith('Saved')")
    assert load_decisions(served.decisions)[0].tags == ("water", "<i>hands")
    assert browser.execute_script("return document.getElementById('tags').value") == ""  # of the next class
    assert "waives nothing" in browser.execute_script("return said.textContent")
    assert browser.execute_script("return document.getElementById('count').textContent") == (
        "1 of 12 classes decided"
    )
    decide(browser, "clever_hans", "the mark")
    wait(browser, "document.getElementById('count').textContent.startsWith('2 ')")
    first, second = rank(served.run).table["class_id"].iloc[:2]
    assert [(w.class_key, w.decision, w.owner) for w in load_decisions(served.decisions)] == [
        (first, "legitimate_context", "a reviewer"),
        (second, "clever_hans", "a reviewer"),
    ]
    browser.get(served.keys.origin + "/")  # without the token: the session holds
    wait(browser, "document.getElementById('count').textContent === '2 of 12 classes decided'")
    assert browser.execute_script("return document.getElementById('reason').value") == "<b>water</b>"
    assert browser.execute_script("return document.getElementById('tags').value") == "water, <i>hands"
    assert browser.title.startswith("Review of ")
    browser.switch_to.frame("report")
    wait(browser, "document.querySelector('#ranking') && document.readyState === 'complete'")
    label = rank(served.run).table["label"].iloc[0]
    assert browser.execute_script("return location.hash") == f"#class-{label}"
    outside = "try { return parent.document.title } catch (e) { return e.name }"
    assert browser.execute_script(outside) == "SecurityError"
    browser.switch_to.default_content()
    assert browser.execute_script("return document.querySelector('.one').scrollTop") == 0
    assert browser.get_log("browser") == []


def test_whoever_is_overtaken_sees_it(open_review, served):
    browser = open_review()
    other = {"label": 0, "decision": "unsure", "reason": "mine", "owner": "other", "seen": ""}
    assert served.ask("PUT", "/api/decision", other)[0] == 200
    decide(browser, "clever_hans", "theirs")
    wait(browser, "document.getElementById('said').classList.contains('bad')")
    assert browser.execute_script("return document.getElementById('reason').value") == "mine"
    assert [w.reason for w in load_decisions(served.decisions)] == ["mine"]
    decide(browser, "clever_hans", "agreed")
    wait(browser, "document.getElementById('said').textContent.startsWith('Saved')")
    assert [w.reason for w in load_decisions(served.decisions)] == ["agreed"]


def test_without_the_token_nothing_is_shown(browser, served):
    browser.delete_all_cookies()
    browser.get("about:blank")
    browser.get(served.keys.origin + "/#wrong")
    wait(browser, "!document.getElementById('closed').hidden")
    assert browser.execute_script("return document.getElementById('closed').textContent") == (
        "this is not the token that was printed"
    )


def swipe(browser, element, reach: int, touch: bool) -> None:
    """Drag from ``reach`` pixels left above the middle of an element to as far right below it."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    area = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", element)
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    steps = [(x + k * reach, y + k * reach) for k in (-1, 0, 1)]
    if touch:
        for kind, places in (("touchStart", steps[:1]), ("touchMove", steps[1:2]), ("touchMove", steps[2:])):
            points = [{"x": px, "y": py} for px, py in places]
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        return
    kinds = ("mousePressed", "mouseMoved", "mouseMoved", "mouseReleased")
    for kind, (px, py) in zip(kinds, (*steps, steps[-1]), strict=True):
        event = {"type": kind, "x": px, "y": py, "button": "left", "buttons": 1, "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


@pytest.mark.parametrize("width", [1280, 390])
def test_boxes_by_mouse_finger_and_keys(open_review, served, width):
    from selenium.webdriver import ActionChains

    browser = open_review(width, 900)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    browser.execute_script("document.getElementById('to-boxes').click()")
    wait(browser, "document.getElementById('picture').naturalWidth > 0")
    canvas = browser.find_element("id", "canvas")
    side = canvas.size["width"]
    swipe(browser, canvas, round(side / 4), touch=width < 500)
    wait(browser, "document.getElementById('drawn').textContent === 'Saved: 1 box.'")
    ActionChains(browser).send_keys("n").perform()
    browser.execute_script("document.getElementById('canvas').focus()")
    shift, up, left, right, down = "\ue008", "\ue013", "\ue012", "\ue014", "\ue015"
    far = ActionChains(browser).key_down(shift)
    for key in (up, left, left):
        far.send_keys(key)
    far.key_up(shift).send_keys(" ").key_down(shift)
    for key in (down, down, right):
        far.send_keys(key)
    far.key_up(shift).send_keys(" ").perform()
    wait(browser, "document.getElementById('drawn').textContent === 'Saved: 1 box.'")
    entries = {e.names[0]: e for e in read_boxes(served.boxes, "csv").entries}
    (drawn,) = entries[served.images[0]].boxes
    assert drawn == pytest.approx([64, 64, 191, 191], abs=256 / side + 1)
    # from (0.3, 0.4) to (0.4, 0.6) of 256 pixels
    assert entries[served.images[1]].boxes == [[77, 102, 101, 153]]
    ActionChains(browser).send_keys("\ue017").perform()  # Delete
    wait(browser, "document.getElementById('drawn').textContent === 'Saved: 0 boxes.'")
    assert {e.names[0]: e for e in read_boxes(served.boxes, "csv").entries}[served.images[1]].boxes == []
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_core_finds_nothing(open_review, scheme):
    browser = open_review()
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    assert violations(browser) == []
    browser.execute_script("document.getElementById('to-boxes').click()")
    wait(browser, "document.getElementById('picture').naturalWidth > 0")
    assert violations(browser) == []
