"""The figures of a whole run, on the first screen of its report."""

from __future__ import annotations

from reports.page import words
from reports.page.data import RunData
from reports.page.edits import interval


def run_facts(run: RunData) -> list[dict[str, str]]:
    """Label, value and note of each."""
    images, used = run.images, run.used
    subset = run.rule("images")
    correct = images.loc[images["prediction"].notna(), "correct"]
    median = used["mass"].median()
    true = run.setting("audit", "target") == "label"
    failed = int((images["status"] == "failed").sum())
    return [
        {
            "label": "images audited",
            "value": words.integer(len(images)),
            "note": f"{words.integer(failed)} could not be read" if failed else "all of them could be read",
        },
        {
            "label": "accuracy",
            "value": words.percent(correct.mean() if len(correct) else None, 1),
            "note": f"top-1, {words.count(len(run.classes), 'class', 'classes')}",
        },
        {
            "label": "images that count",
            "value": words.integer(len(used)),
            "note": "correctly classified, with a usable box" if subset == "correct" else "with a usable box",
        },
        {
            "label": "relevance on the object",
            "value": words.percent(median),
            "note": f"median image; its box covers {words.percent(used['box_area'].median())} of the picture",
        },
        {
            "label": "explained by",
            "value": run.method,
            "note": "target: the true class" if true else "target: the predicted class",
        },
        *_background_gap(run),
    ]


def _background_gap(run: RunData) -> list[dict[str, str]]:
    """The gap of ImageNet-9, where images were edited."""
    gap = run.ranking.summary.get("background_gap")
    if gap is None:
        return []
    note = f"accuracy lost on other classes' backgrounds {interval(gap['low'], gap['high'])}"
    return [{"label": "background gap", "value": words.signed(gap["mean"]), "note": note}]
