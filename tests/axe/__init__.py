"""axe-core, the accessibility engine, for a page that is open in a browser; README.md says whence it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "axe.min.js"
# WCAG 2.2 A and AA, and what axe-core's authors call good practice
_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
_RUN = """
const done = arguments[arguments.length - 1], tags = arguments[0];
axe.run(document, {runOnly: tags, resultTypes: ["violations"], iframes: false})
  .then((found) => done(found.violations), (fault) => done([{id: String(fault), impact: "", nodes: []}]));
"""


def violations(browser: Any) -> list[str]:
    """Each violation of the open page with its places; empty: axe-core finds none."""
    browser.execute_script(SCRIPT.read_text(encoding="utf-8"))
    said = browser.execute_async_script(_RUN, list(_TAGS))
    return [f"{v['impact']}: {v['id']}: {node['html'][:160]}" for v in said for node in v["nodes"]] + [
        v["id"] for v in said if not v["nodes"]
    ]
