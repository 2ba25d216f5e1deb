"""What the pages in docs/ show is true: commands and options exist, pictures are there and small."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from typer.main import get_command

from flows.cli import app
from pipeline.columns import RANKING
from pipeline.config_sections import RankingConfig
from pipeline.inputs.planted_model import planted_card
from pipeline.statistics.decision import criteria
from pipeline.verdicts import SUSPECT, MapVerdict, Tested, Verdict, verdict

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def commands(text: str) -> list[list[str]]:
    """The words after ``hansaudit`` of the commands in console blocks and in running text."""
    shown = "\n".join(re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)).replace("\\\n", " ")
    lines = [line[2:] for line in shown.splitlines() if line.startswith("$ hansaudit")]
    running = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    lines += re.findall(r"`(hansaudit [a-z][^`]* [^`]*)`", running)
    return [shlex.split(line.replace("\n", " "))[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        command, name = get_command(app), words[0]
        while words and words[0] in getattr(command, "commands", {}):
            command, words = command.commands[words[0]], words[1:]
        assert not hasattr(command, "commands"), f"no such command: {name} {words}"
        valid = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= valid, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_pictures_are_small(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file(), target
        if target.startswith("images/"):
            assert (page.parent / target).stat().st_size < 300_000, target


def test_the_pictures_of_pages_are_there_and_shown() -> None:
    """`make screenshots` makes all of them and no other ones of its kind."""
    from docs.screenshots import BIGGEST, IMAGES, PICTURES

    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"\]\(images/([\w-]+)\.webp\)", text)) == set(PICTURES)
    assert {picture.stem for picture in IMAGES.glob("*.webp")} == set(PICTURES)
    assert all(picture.stat().st_size <= BIGGEST for picture in IMAGES.glob("*.webp"))


def test_the_columns_of_the_ranking_are_documented() -> None:
    text = (DOCS / "statistics.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Columns of `ranking\.csv`\n(.*?)^## ", text, re.M | re.S)
    rows = re.findall(r"^\| `(\w+)` \| (?:(.*?) )?\| (.*) \|$", section, re.M)
    assert rows == [(name, column.unit, column.about) for name, column in RANKING.items()]


def test_the_conditions_of_the_verdicts_are_those_that_decide() -> None:
    text = (DOCS / "statistics.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Verdicts\n(.*?)^## ", text, re.M | re.S)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| ", section, re.M))
    rules = criteria(RankingConfig()).items()
    decide = {verdict: ", ".join(f"`{rule}`" for rule in demanded) for verdict, demanded in rules}
    assert rows == decide | {MapVerdict.UNDECIDED: "none of these"}


def test_the_verdict_of_a_class_is_the_one_that_is_documented() -> None:
    text = (DOCS / "statistics.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## The verdict of a class\n(.*?)^## ", text, re.M | re.S)
    rows = re.findall(r"^\| (?:`(\w+)`|none) \| `(\w+)` \| `(\w+)`(.*) \|$", section, re.M)
    assert [row[0] for row in rows] == [*Tested, ""]
    for word, accused, other, rest in rows:
        tested = Tested(word) if word else None
        assert {verdict(maps, tested) for maps in SUSPECT} == {accused}
        assert verdict(MapVerdict.UNREMARKABLE, tested) == other
        assert verdict(MapVerdict.UNDECIDED, tested) == (Verdict.UNDECIDED if rest else other)


def test_the_python_of_the_channels_runs() -> None:
    text = (DOCS / "evidence.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Channels: .*?\n(.*?)^## ", text, re.M | re.S)
    (source,) = re.findall(r"^```python\n(.*?)^```", section, re.M | re.S)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(6, 3, name="c"), layers.Flatten(), layers.Dense(2)]
    )
    pictures = np.random.default_rng(0).normal(size=(3, 8, 8, 3))
    given: dict[str, Any] = {"model": model, "images": pictures, "others": pictures[::-1], "layer": "c"}
    exec(compile(source, "docs/evidence.md", "exec"), given)
    assert given["through"].shape == (3, 6)
    assert given["only"].relevance.shape == pictures.shape
    assert given["without"].shape == (3, 2)


def test_the_python_of_the_galleries_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = re.findall(r"^```python\n(.*?)^```", (DOCS / "galleries.md").read_text(), re.M | re.S)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, activation="softmax", name="out")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    card = planted_card(8, ("a", "b"))
    given: dict[str, Any] = {"model": model, "card": card, "pictures": pictures, "labels": np.arange(6) % 2}
    monkeypatch.chdir(tmp_path)
    given |= {"inputs": card.prepare(pictures)}
    for source in sources:
        exec(compile(source, "docs/galleries.md", "exec"), given)
    for name in ("monitor.png", "monitor.html", "course.html", "metrics.csv"):
        assert (tmp_path / "watch" / name).stat().st_size > 0
    assert given["made"].pictures.shape == (3, 8, 8, 3)
