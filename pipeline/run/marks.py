"""What the sanity check of a run says against its methods, read from ``sanity.json`` without a framework."""

from __future__ import annotations

import json

from pipeline.run.store import Store

SUMMARY = "sanity.json"
WORDS = {"insensitive": "insensitive to the weights", "class_blind": "class blind"}


def method_marks(run: Store, method: str) -> list[str] | None:
    """What ``method`` failed, in words; empty where it passed, None where it was not checked."""
    raw = run.files.get(SUMMARY)
    found = [m for m in json.loads(raw)["methods"] if m["method"] == method] if raw else []
    return [text for key, text in WORDS.items() if found[0].get(key)] if found else None
