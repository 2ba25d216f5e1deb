"""Where the figures come from: data, model, configuration, versions, durations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.run.costs import busy_words, compared
from reports.page import words
from reports.page.data import RunData
from reports.page.sections import Section

TEMPLATE = """
<div class="provenance">
{% for title, rows in groups if rows %}
<div><h3>{{ title }}</h3>
<dl>{% for key, value in rows %}<div><dt>{{ key }}</dt><dd><bdi>{{ value }}</bdi></dd></div>{% endfor
%}</dl></div>
{% endfor %}
</div>
<details><summary>The whole configuration</summary><pre tabindex="0">{{ config }}</pre></details>
<p class="fine">Made from the tables of the run folder alone. <code>hansaudit report</code> makes this page
again,
<code>hansaudit run</code> with the same configuration the tables.</p>
"""


def build(run: RunData) -> dict[str, Any]:
    manifest = run.manifest
    return {
        "groups": [
            ("Data", _data(manifest.get("dataset", {}))),
            ("Model", _model(manifest.get("model", {}))),
            ("Run", _run(run)),
            ("Looked at before the first image", run.preflight.rows() if run.preflight else []),
            ("Decided by position, by default or by guess", _decided(run)),
            ("Versions", _given(*sorted((manifest.get("versions") or {}).items()))),
        ],
        "config": json.dumps(manifest.get("config", {}), indent=2, ensure_ascii=False),
    }


def _data(dataset: Mapping[str, Any]) -> list[tuple[str, str]]:
    return _given(
        ("dataset", dataset.get("name")),
        ("split", dataset.get("split")),
        ("images", words.integer(dataset.get("n_examples"))),
        ("classes of the dataset", words.integer(len(dataset.get("class_names") or ()))),
        ("fingerprint", dataset.get("fingerprint")),
    )


def _model(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    card = model.get("card") or {}
    return _given(
        ("model", model.get("name")),
        ("sha256", model.get("sha256")),
        *((key, _plain(value)) for key, value in card.items() if "class" not in key),
    )


def _run(run: RunData) -> list[tuple[str, str]]:
    manifest = run.manifest
    sessions = manifest.get("sessions") or []
    seconds = sum(float(s.get("seconds") or 0) for s in sessions)
    images = sum(int(s.get("images") or 0) for s in sessions)
    speed = f"{words.number(images / seconds, 1)} images/s" if seconds and images else None
    return _given(
        ("run id", manifest.get("run_id")),
        ("method", run.method),
        ("shards", words.integer(len(manifest.get("shards") or ()))),
        ("sessions", words.integer(len(sessions))),
        ("left out", "; ".join(run.outdated)),
        ("first started", str(sessions[0].get("started", ""))[:19] if sessions else None),
        ("last ended", sessions[-1].get("ended") if sessions else None),
        ("time spent", words.duration(seconds) if seconds else None),
        ("cost of the last session", _cost(sessions)),
        ("inside the audit", _inside(sessions)),
        ("read from object stores", _traffic(sessions)),
        ("speed", speed),
    )


def _cost(sessions: Sequence[Mapping[str, Any]]) -> str | None:
    """What the stages of the last session with new images took, beside what was forecast."""
    for session in reversed(sessions):
        try:
            if told := compared(session.get("forecast") or (), session.get("spent") or {}):
                return told
        except (AttributeError, KeyError, TypeError, ValueError):  # a manifest that somebody wrote
            return None
    return None


def _inside(sessions: Sequence[Mapping[str, Any]]) -> str | None:
    """Where the time of the last session with new images went, inside its audit."""
    for session in reversed(sessions):
        try:
            if told := busy_words(session.get("busy") or {}):
                return f"{told} (threads and workers added up)"
        except (AttributeError, TypeError, ValueError):  # a manifest that somebody wrote
            return None
    return None


def _traffic(sessions: Sequence[Mapping[str, Any]]) -> str | None:
    """What all sessions asked object stores for, and how often it had to be asked again."""
    try:
        parts = [session["traffic"] for session in sessions if session.get("traffic")]
        requests, size = (sum(int(part[name]) for part in parts) for name in ("requests", "bytes"))
        repeated = sum(int(times) for part in parts for times in part["repeated"].values())
    except (AttributeError, KeyError, TypeError, ValueError):  # a manifest that somebody wrote
        return None
    told = f"{requests:,} requests, {size / 1e6:,.1f} MB, {repeated:,} requests repeated"
    return told if requests else None


def _given(*rows: tuple[str, Any]) -> list[tuple[str, str]]:
    return [(key, str(value)) for key, value in rows if value not in (None, "", [], {})]


def _decided(run: RunData) -> list[tuple[str, str]]:
    """Sentences, the part before a colon as their name."""
    pairs = (decision.partition(": ") for decision in (run.preflight.decisions if run.preflight else ()))
    return [(name, text) if text else ("decided", name) for name, _, text in pairs]


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value) if value is not None else ""


SECTION = Section("provenance", "Provenance", "Provenance", 90, TEMPLATE, build)
