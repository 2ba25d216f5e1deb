"""What to do next, each step with its command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.unboxed import command, is_unboxed, quoted, unboxed
from reports.gate.classes import BY_ALL_IMAGES, Row, images_behind
from reports.gate.gated_run import GatedRun

NAMED: Final = 10  # classes that a command names
_MORE: Final = 30  # images edited at least in a second look
_NEARLY: Final = 0.8  # share of a class's images: with so many edited there are hardly more to edit
FINISH: Final = "the same `hansaudit run` on the same folder finishes the run"


def test_more(run: str, rows: Sequence[Row]) -> list[str]:
    """How undecided classes become decided by edited images."""
    bare = unboxed(rows)
    rows = [row for row in rows if not is_unboxed(row)]
    tests = [row for row in rows if _wanted(row) > int(row.get("n_edited") or 0)]
    steps = [draw_boxes(run, len(bare))] if bare else []
    if tests:
        images = max(_wanted(row) for row in tests[:NAMED])
        steps.append(f"`hansaudit confirm {quoted(run)}{_named(tests)} --images {images}` tests more images")
    if spent := len(rows) - len(tests):
        steps.append(
            f"{_classes(spent, ('needs', 'need'))} more images than the run has: audit more, or waive for a "
            "time in decisions.toml"
        )
    return steps


def _classes(n: int, verbs: tuple[str, str]) -> str:
    """So many classes and what they do."""
    return f"1 class {verbs[0]}" if n == 1 else f"{n} classes {verbs[1]}"


def _wanted(row: Row) -> int:
    """Images of a class to edit in all: what it needs where that is known, else twice as many.

    0 where the run has too few: not all of its images can be edited, so the last ones are not counted on.
    """
    edited, present = int(row.get("n_edited") or 0), int(row.get("n_images") or 0)
    needed = int(row.get("n_needed") or 0) if edited else 0
    if needed > present or edited >= _NEARLY * present:
        return 0
    return min(max(2 * edited, needed, _MORE), present)


def draw_boxes(run: str, classes: int) -> str:
    """How classes without a box become tested."""
    which = "1 class without a box" if classes == 1 else f"{classes} classes without a box"
    return f"{which}: `{command(run, classes)}` lists the images on which boxes would decide most"


def audit_more(run: str, rows: Sequence[Row], statistic: str) -> list[str]:
    """How classes become decided that only more audited images, or boxes, decide."""
    bare = [] if statistic in BY_ALL_IMAGES else unboxed(rows)
    if bare:
        more = [row for row in rows if not is_unboxed(row)]
        return [draw_boxes(run, len(bare)), *audit_more(run, more, statistic)]
    if not rows:
        return []
    row = max(rows, key=lambda r: int(r.get("n_needed") or 0))
    needed = f" (about {row['n_needed']} for {row['class_name']})" if row.get("n_needed") else ""
    fewest = min(images_behind(r, statistic) for r in rows)
    return [f"audit more images of {len(rows)} classes{needed}; the fewest have {fewest} now"]


def look_at(run: str, rows: Sequence[Row]) -> list[str]:
    """What to do about classes that are at fault."""
    if not rows:
        return []
    return [
        f"`hansaudit clusters {quoted(run)}{_named(rows)}` shows what these classes go by; mend data or "
        "network, or waive them for a time in decisions.toml"
    ]


def see_changes(run: GatedRun, undecided: Sequence[Row]) -> list[str]:
    """What to do about changes since the baseline, and about those that are not known."""
    if run.baseline is None:
        return []
    steps = [f"`hansaudit diff {quoted(run.baseline.path)} {quoted(run.path)}` shows what changed"]
    if undecided:
        steps.append(f"audit more images of {len(undecided)} classes in both runs")
    return steps


def _named(rows: Sequence[Row]) -> str:
    return "".join(f" --class {quoted(_key(row))}" for row in rows[:NAMED])


def _key(row: Row) -> str:
    """What a command takes for a class: its id, where it has one."""
    return str(row.get("class_id") or row["class_name"])
