"""What the network wants to see of a confirmed class, where that was drawn (``report --visualize``)."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import schema
from pipeline.run.documents import VisualizedDocument
from pipeline.run.folder import VISUALIZED_TABLE
from pipeline.verdicts import Verdict
from reports.inline import data_uri
from reports.page import words
from reports.page.data import RunData


@dataclass(frozen=True)
class Wanted:
    """Pictures of a class as data URIs, and how they were made."""

    pictures: tuple[str, ...]
    said: str


def wanted_of(run: RunData) -> dict[int, Wanted]:
    """By label, of the confirmed classes that were drawn."""
    stored, table = VisualizedDocument.current(run.store), run.store.read_side_table(VISUALIZED_TABLE)
    if stored is None or table is None or not set(schema.VISUALIZED.names) <= set(table.column_names):
        return {}
    confirmed = set(run.classes.loc[run.classes["verdict"] == Verdict.CONFIRMED, "label"])
    rows = sorted(table.to_pylist(), key=lambda row: (row["label"], row["place"]))
    made = {}
    for c in stored.classes:
        pictures = tuple(data_uri(r["picture"], "image/png") for r in rows if r["label"] == c.label)
        if c.label in confirmed and pictures:
            made[c.label] = Wanted(
                pictures,
                f"its logit is {words.signed(c.before, 1)} on noise and {words.signed(c.after, 1)} on them; "
                f"activation maximisation, {words.count(stored.steps, 'step')}, seed {stored.seed}",
            )
    return made
