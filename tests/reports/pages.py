"""Runs and pages for the tests of the report: drawn data, hostile names."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from pipeline.config import RankingConfig
from pipeline.ranking import Ranking, rank
from tests.tables import write_run

QUICK = RankingConfig(draws=200)
HOSTILE = (
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=document.title='owned'>",
    "{{ 7 * 7 }} </title></style>",
    "'; alert(1); // \u202egnp.exe",
    "a_class_name_without_any_space_that_is_longer_than_a_phone_is_wide_" * 2,
)


def rename_classes(folder: Path, names: tuple[str, ...]) -> None:
    """Give the first classes of a run other names, in its manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    old = manifest["dataset"]["class_names"]
    manifest["dataset"]["class_names"] = [*names, *old[len(names) :]]
    if manifest["dataset"]["planted"]:
        new = dict(zip(old, manifest["dataset"]["class_names"], strict=True))
        manifest["dataset"]["planted"] = {new[k]: v for k, v in manifest["dataset"]["planted"].items()}
    path.write_text(json.dumps(manifest), encoding="utf-8")


def planted_run(
    folder: Path, *, hostile: bool = False, maps: bool = True, thumbnails: bool = True
) -> Ranking:
    """12 classes of 30 images, classes 0, 1 and 7 with a strong effect, a few failures; ranked."""
    effect = {0: -2.5, 1: -2.2, 7: -2.0}
    write_run(folder, 12, 30, 5, effect, maps, thumbnails, shard_size=150, failures=0.02)
    if hostile:
        rename_classes(folder, HOSTILE)
    return rank(folder, QUICK)


class Page(HTMLParser):
    """What a page holds: tags with their attributes, and its text without scripts and styles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag if tag in self.raw else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        (self.raw[self._open] if self._open else self.words).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"[ \n\t]+", " ", " ".join(self.words))
