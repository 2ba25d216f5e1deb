"""One browser for all tests of pages; each opens its page afresh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import browser_missing, open_browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium; skips where there is none."""
    if missing := browser_missing():
        pytest.skip(missing)
    pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser = open_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()
