"""What points at a class before its images are edited: hints, each with a weight, none of them evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.measure.agreement import wilson
from pipeline.run.documents import ClustersDocument, PropertiesDocument
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking
from pipeline.verdicts import SUSPECT, Transferred

# how much a hint counts: maps that look beside known objects most, a low accuracy least
SUSPECTED, TRANSFERS, CLUSTERS, FILES, WRONG = 4.0, 4.0, 2.0, 2.0, 1.0


@dataclass(frozen=True)
class Hint:
    """Why boxes on a class's images would decide much, in words that follow its name."""

    weight: float
    words: str


def hints_of(store: Store, ranking: Ranking) -> Mapping[int, list[Hint]]:
    """Label -> what points at the class; classes of which nothing does are absent."""
    told: dict[int, list[Hint]] = {}
    of_ranking = (_of_maps(ranking), _of_transfer(ranking), _of_accuracy(ranking))
    for source in (*of_ranking, _of_clusters(store, ranking), _of_files(store)):
        for label, hint in source:
            told.setdefault(label, []).append(hint)
    return told


def _of_maps(ranking: Ranking) -> Iterator[tuple[int, Hint]]:
    """The maps of its images with a box lie beside the object, or further beside it than a reference's do."""
    level, table = ranking.settings.level, ranking.table
    for row in table[table["map_verdict"].isin(SUSPECT) | (table["q_reference"] <= level)].to_dict("records"):
        maps = f"are {row['map_verdict']}" if row["map_verdict"] in SUSPECT else "lie beside the reference's"
        yield int(row["label"]), Hint(SUSPECTED, f"maps of its {row['n']} images with a box {maps}")


def _of_transfer(ranking: Ranking) -> Iterator[tuple[int, Hint]]:
    """The windows with most relevance carry the class to other images: the object, or what lies beside it."""
    table = ranking.table
    for row in table[table["transferred"] == Transferred.TRANSFERS].to_dict("records"):
        gain = row["transfer"]
        words = f"its windows carry it to other images ({gain:+.1f} log odds)"
        yield int(row["label"]), Hint(TRANSFERS * min(1.0, max(0.0, gain / 4)), words)


def _of_clusters(store: Store, ranking: Ranking) -> Iterator[tuple[int, Hint]]:
    """A group of its maps stands apart, by how much more than chance."""
    stored = ClustersDocument.current(store)
    for entry in stored.classes if stored else ():
        if entry.method != ranking.method or entry.tau is None or entry.tau_null is None:
            continue
        beyond = entry.tau - entry.tau_null
        if len(entry.clusters) > 1 and beyond > 0:
            chance = f"({entry.tau:.2f}, chance {entry.tau_null:.2f})"
            words = f"{len(entry.clusters)} groups of maps stand apart {chance}"
            yield entry.label, Hint(CLUSTERS * min(1.0, beyond / max(1 - entry.tau_null, 1e-9)), words)


def _of_files(store: Store) -> Iterator[tuple[int, Hint]]:
    """A property of its files alone tells it from the rest; the strongest of them counts."""
    stored = PropertiesDocument.current(store)
    strongest = {}
    for entry in sorted(stored.classes if stored else (), key=lambda entry: entry.strength):
        if entry.stands_out:
            strongest[entry.label] = entry
    for label, entry in strongest.items():
        words = f"{entry.name.replace('_', ' ')} of its files tells it from the rest (AUC {entry.auc:.2f})"
        yield label, Hint(FILES * (2 * entry.strength - 1), words)


def _of_accuracy(ranking: Ranking) -> Iterator[tuple[int, Hint]]:
    """Its accuracy is surely below that of the run."""
    overall = ranking.summary["accuracy"]
    for row in ranking.table[ranking.table["accuracy"].notna()].to_dict("records"):
        n = int(row["n_images"])
        if overall is not None and n and wilson(round(row["accuracy"] * n), n)[1] < overall:
            words = f"accuracy {row['accuracy']:.0%}, of the run {overall:.0%}"
            yield int(row["label"]), Hint(WRONG * (overall - row["accuracy"]), words)
