"""The page as text: complete, self-contained, and inert whatever the classes are called."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.config_sections import RankingConfig
from pipeline.errors import InputError
from pipeline.inputs.classes import short_names
from pipeline.run.preflight import (
    Accuracy,
    BoxesSeen,
    ClassMatch,
    Names,
    NetworkFacts,
    Preflight,
    Sample,
    SizesSeen,
)
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking, rank
from pipeline.verdicts import Verdict
from reports.page import cards, sections, words
from reports.page.figures import Dot, correlation, scatter, verdict_bar, whisker, whisker_axis
from reports.page.headline import headline, sentence, tally
from reports.page.html import write_report
from reports.page.sections import planted
from reports.page.svg import Axis, span
from tests.reports.page.pages import HOSTILE, QUICK, Page, planted_run
from tests.tables import write_run


@pytest.fixture(scope="module")
def folder(drawn: tuple[Path, Ranking], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(drawn[0], tmp_path_factory.mktemp("html") / "run")


@pytest.fixture(scope="module")
def source(folder: Path, ranking: Ranking) -> str:
    return write_report(folder, ranking).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_nothing_is_fetched(source, page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset", "poster", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value[:60])
    assert "url(" not in source
    assert "@import" not in source


def test_the_policy_allows_only_this_page_s_own_style_and_script(page):
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(page.all("script")) == len(page.all("style")) == 1
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256("".join(page.raw[kind]).encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not [a for _, a in page.tags if "style" in a], "a style attribute is forbidden by the policy"


def test_hostile_names_are_text(page, ranking):
    assert set(HOSTILE) <= set(ranking.table["class_name"])
    for name in HOSTILE:
        assert " ".join(name.split()) in page.text
    for tag, attributes in page.tags:
        assert not [a for a in attributes if a.startswith("on")], (tag, attributes)
    assert len(page.all("script")) == 1


def test_the_direction_of_a_name_ends_with_the_name(source):
    """A right-to-left override in a name must not turn the text after it: <bdi>, isolate, attribute."""
    name = HOSTILE[3].replace("'", "&#39;")
    ends = [source[m.end() : m.end() + 8] for m in re.finditer(re.escape(name), source)]
    assert ends
    assert {end[0] for end in ends} <= set('<":,\u2069')
    assert source.count(f">{name}") == source.count(f"<bdi>{name}</bdi>") + source.count(
        f'<bdi class="name">{name}</bdi>'
    ) + len(re.findall(rf"<(?:title|text)[^>]*>{re.escape(name)}", source))


def test_the_table_holds_every_class_with_the_ranking_s_figures(source, ranking):
    rows = re.findall(r'<tr id="row-(\d+)".*?</tr>', source, re.S)
    assert [int(r) for r in rows] == ranking.table["label"].tolist()
    body = re.findall(r'<tr id="row-\d+".*?</tr>', source, re.S)
    for html, row in zip(body, ranking.table.to_dict("records"), strict=True):
        text = Page(html).text
        assert words.signed(row["adjusted_lift"]) in text
        assert words.number(row["ratio"]) in text
        assert words.percent(row["accuracy"]) in text
        assert row["map_verdict"] in text
        assert row["verdict"] in text
        assert words.probability(row["q_relative"]) in text


def test_the_page_says_what_decides_a_verdict(page):
    assert "by more than other classes differ ( q_relative <= 0.05 and n >= 5 )" in page.text
    assert "for a statement either way ( none of the others )" in page.text


def test_every_section_is_on_the_page_and_in_the_navigation(page):
    names = {s.name for s in sections.all_sections()}
    modules = {p.stem for p in Path(sections.__file__).parent.glob("*.py")} - {"__init__"}
    assert len(names) == len(modules)
    shown = {a["id"] for a in page.all("section")}
    assert {"verdict", "planted", "classes", "table", "area", "distributions", "baselines"} <= shown
    assert {"failures", "reading", "provenance"} <= shown <= names
    ids = {a["id"] for _, a in page.tags if a.get("id")}
    links = {a["href"][1:] for a in page.all("a")}
    # the images of a class lie in a template until the page's script opens it
    opened = {f"images-{a['id'].removeprefix('shots-')}" for a in page.all("template")}
    assert len(opened) > 2
    assert links <= ids | opened, "every link on the page leads somewhere"


def test_pictures_have_alternatives_and_ids_are_unique(page):
    # a map that is laid over its photograph is no picture of its own
    assert all(a.get("alt") or (a["alt"] == "" and a["class"] == "layer") for a in page.all("img"))
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("aria-label")


def test_suspicious_classes_have_cards_with_photograph_and_heat_map(page, source, ranking):
    suspects = ranking.table[ranking.table["verdict"] == "suspected"]
    assert set(suspects["label"]) == {0, 1, 7}
    for label in suspects["label"]:
        card = re.search(rf'<article class="card" id="card-{label}">.*?</article>', source, re.S)
        assert card is not None
        images = Page(card[0]).all("img")
        assert sum("photograph with" in str(a["alt"]) for a in images) == cards.MOST + cards.LEAST
        assert sum("heat map," in str(a["alt"]) for a in images) == cards.MOST + cards.LEAST
        assert sum("Average heat map" in str(a["alt"]) for a in images) == 2  # in the picture, about the box


def test_the_headline_and_the_planted_statement(page):
    assert "Three of 12 classes are suspected by their heat maps" in page.text
    said = page.text.replace(Verdict.CONFIRMED.meaning, "").replace(
        Verdict.CONFIRMED.meaning.capitalize(), ""
    )
    assert "right for the wrong reason" not in said.split("The classes in pictures")[0]
    assert "Whether the network needs what is there has not been tested" in page.text
    assert "the three planted classes came first" in page.text
    assert "All of them are confirmed or suspected, with no false alarms" in page.text


def test_failures_are_counted_with_reason_and_examples(page, folder):
    import pyarrow.dataset as ds

    rows = ds.dataset(folder / "examples").to_table(columns=["status", "reason", "file_name"]).to_pylist()
    failed = [r for r in rows if r["status"] == "failed"]
    assert failed
    assert f"{failed[0]['reason']} ({len(failed)})" in page.text
    assert any(r["file_name"] in page.text for r in failed)


def test_without_maps_and_thumbnails_the_cards_say_so(tmp_path):
    ranking = planted_run(tmp_path, maps=False, thumbnails=False)
    page = Page(write_report(tmp_path, ranking).read_text(encoding="utf-8"))
    assert "No photographs and no heat maps stored for it" in page.text
    assert not page.all("img")


def test_too_few_images_are_said_plainly_with_what_it_would_take(tmp_path):
    write_run(tmp_path, 40, 3, 2, maps=False)
    ranking = rank(tmp_path, QUICK)
    assert (ranking.table["map_verdict"] == "undecided").all()
    page = Page(write_report(tmp_path, ranking).read_text(encoding="utf-8"))
    assert "Too few images to say anything about any class" in page.text
    needed = words.integer(ranking.table["n_needed"].median())
    assert f"a statement would take about {needed} (median)" in page.text


def test_no_correct_image_at_all_still_gives_a_page(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_run(tmp_path, 3, 5, 1)
    for part in (tmp_path / "examples").glob("*.parquet"):
        table = pq.read_table(part)
        at = table.schema.get_field_index("correct")
        wrong = pa.array([False] * table.num_rows)
        pq.write_table(table.set_column(at, table.schema.field(at), wrong), part)
    page = Page(write_report(tmp_path, rank(tmp_path, QUICK)).read_text(encoding="utf-8"))
    assert "there is nothing to compare and nothing to show" in page.text
    assert "Accuracy" in page.text


@pytest.mark.parametrize("n_classes", [1, 2])
def test_a_run_of_one_or_two_classes(tmp_path, n_classes):
    write_run(tmp_path, n_classes, 12, 1)
    page = Page(write_report(tmp_path, rank(tmp_path, QUICK)).read_text(encoding="utf-8"))
    assert len([a for a in page.all("tr") if str(a.get("id")).startswith("row-")]) == n_classes


def test_all_images_instead_of_the_correct_ones(tmp_path):
    write_run(tmp_path, 5, 20, 1, {2: -2.5})
    ranking = rank(tmp_path, RankingConfig(draws=200, images="all"))
    page = Page(write_report(tmp_path, ranking).read_text(encoding="utf-8"))
    assert "All images with a usable box count" in page.text


def test_a_thousand_classes_stay_light(tmp_path):
    write_run(tmp_path, 1000, 4, 3, {5: -2.0}, maps=False, thumbnails=False, shard_size=4000)
    path = write_report(tmp_path, rank(tmp_path, QUICK))
    assert path.stat().st_size < 2_500_000


def test_the_page_goes_where_it_is_asked_to_and_nothing_half_written_stays(folder, ranking, tmp_path):
    out = write_report(folder, ranking, tmp_path / "deep" / "audit.html")
    assert out == tmp_path / "deep" / "audit.html"
    assert [p.name for p in out.parent.iterdir()] == ["audit.html"]
    assert write_report(folder, ranking) == folder / "report.html"


def test_a_place_that_cannot_be_written_is_one_clear_line(folder, ranking, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(folder, ranking, tmp_path / "file" / "report.html")


def test_the_page_of_a_run_in_an_object_store_goes_there(folder, ranking):
    import fsspec

    store = fsspec.filesystem("memory")
    store.put(str(folder), "/report/run", recursive=True)
    store.rm("/report/run/report.html")
    write_report("memory://report/run", ranking)
    assert b"are suspected by their heat maps" in store.cat("/report/run/report.html")


def test_the_page_does_not_depend_on_when_it_is_made(folder, ranking, source):
    assert write_report(folder, ranking).read_text(encoding="utf-8") == source


# -- words


KNOWN = " (confirmed by interventions)"


@pytest.mark.parametrize(
    ("numbers", "expected", "rest"),
    [
        ((1, 0, 0, 0, 4), "One of five classes is right for the wrong reason", KNOWN),
        ((13, 0, 0, 0, 987), "13 of 1\u202f000 classes are right for the wrong reason", KNOWN),
        (
            (1, 1, 2, 3, 0),
            "One of seven classes is right for the wrong reason",
            f"{KNOWN}; one suspected, two undecided, three cleared",
        ),
        ((0, 1, 0, 0, 4), "One of five classes is suspected by its heat maps", ""),
        (
            (0, 2, 2, 1, 0),
            "Two of five classes are suspected by their heat maps",
            "; two undecided, one cleared",
        ),
        ((0, 0, 5, 0, 0), "Too few images to say anything about any class", ""),
        ((0, 0, 4, 0, 1), "No class stands out, but four of five could not be judged", ""),
        (
            (0, 0, 1, 1, 3),
            "No class was found to be right for the wrong reason",
            "; one undecided, one cleared",
        ),
        ((0, 0, 0, 0, 3), "No class was found to be right for the wrong reason", ""),
    ],
)
def test_headlines(numbers, expected, rest):
    counts = dict(zip(Verdict, numbers, strict=True))
    assert headline(counts) == expected
    assert sentence(counts) == f"{expected}{rest}."


def test_classes_are_counted_by_verdict(ranking):
    counts = tally(ranking.table)
    assert list(counts) == list(Verdict)
    assert {v: n for v, n in counts.items() if n} == ranking.table["verdict"].value_counts().to_dict()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1.234, "\u22121.23"), (0.0, "0.00"), (-0.001, "0.00"), (12345.6, "12\u202f345.60"), (None, "\u2013")],
)
def test_numbers(value, expected):
    assert words.number(value) == expected


def test_more_numbers():
    assert words.signed(0.5) == "+0.50"
    assert words.signed(-0.5) == "\u22120.50"
    assert words.signed(0.0) == "0.00"
    assert words.number(float("nan")) == words.signed(float("nan")) == "\u2013"
    assert words.percent(0.616, 1) == "61.6\u202f%"
    assert words.percent(0.0001) == "<\u202f1\u202f%"
    assert words.percent(0.9999) == ">\u202f99\u202f%"
    assert words.percent(1.0) == "100\u202f%"
    assert words.probability(0.0001) == "<\u202f0.001"
    assert words.probability(0.05) == "0.050"
    assert words.count(1, "class", "classes") == "1 class"
    assert words.listing(["a"]) == "a"
    assert words.listing(["a", "b", "c"]) == "a, b and c"
    assert words.listing(list("abcdefg"), 3) == "a, b, c and 4 more"
    assert words.duration(75) == "1 min 15 s"
    assert words.duration(7380) == "2 h 3 min"
    assert words.times_less(-np.log(2.5)) == "about 2.5 times lower than"
    assert words.times_less(np.log(2.5)) == "about 2.5 times higher than"
    assert words.times_less(-np.log(11.4)) == "about 11 times lower than"
    assert words.times_less(np.log(1234)) == "about 1\u202f200 times higher than"
    assert words.times_between(-np.log(15), -np.log(8)) == "8.0 to 15 times"
    assert words.times_between(-0.5, 0.1) == words.times_between(None, None) == ""
    assert words.times_less(0.01) == "about as high as"


def test_a_sentence_about_a_class():
    row = {
        "n": 12,
        "adjusted_lift": -np.log(4),
        "low": -np.log(8),
        "high": -np.log(2),
        "mass": 0.2,
        "box_area": 0.4,
        "verdict": "undecided",
        "map_verdict": "undecided",
        "tested": None,
        "n_needed": 31,
    }
    text = cards.sentence(row)
    assert "On 12 images" in text
    assert (
        "are so far about 4.0 times lower than on comparable images (95 % interval: 2.0 to 8.0 times)" in text
    )
    assert "20\u202f% of the relevance lies inside boxes that cover 40\u202f%" in text
    assert "A statement would take about 31 images" in text
    assert "No image of it could be used" in cards.sentence(row | {"n": 0})


# -- figures


def test_axis():
    axis = Axis(-1.0, 3.0, 100.0, 500.0)
    assert [axis(v) for v in (-1.0, 0.0, 3.0, 99.0, -99.0)] == [100, 200, 500, 500, 100]
    assert axis.ticks(4) == [-1, 0, 1, 2, 3]
    assert Axis(0.0, 0.61, 0, 1).ticks(6) == pytest.approx([0, 0.2, 0.4, 0.6])
    assert span([]) == pytest.approx((-0.56, 0.56))
    low, high = span([-3.0, float("nan"), 5.0])
    assert low < -3
    assert high > 5


def test_scatter_puts_a_dot_where_it_belongs_and_escapes_its_name(ranking):
    from reports.page.data import Expected

    nothing = Expected(*(np.zeros(0) for _ in range(4)))
    dots = [Dot(0.0, 0.0, "<i>", "confirmed", "row-1"), Dot(0.5, 1.0, "b", "suspected")]
    svg = str(scatter(dots, nothing))
    assert "<i>" not in svg
    assert "&lt;i&gt;" in svg
    assert 'class="dot confirmed" cx="58"' in svg
    assert svg.count("<a ") == 1


def test_whiskers_share_one_scale_and_point_beyond_it():
    axis = whisker_axis([-1.0] * 200 + [-50.0] + [1.0] * 201)
    inside, beyond = str(whisker(axis, -1, 0, 1, "x")), str(whisker(axis, -50, -1, 1, "x"))
    assert inside.count("<path") == 2
    assert beyond.count("<path") == 3
    assert str(whisker(axis, np.nan, np.nan, np.nan, "x")).count("<path") == 1
    accused = whisker_axis([-1.0] * 200 + [-9.0] + [1.0] * 201, [-9.0, -7.5])
    assert accused(-9.0) < accused(-7.5), "those that a reader compares are told apart"


def test_names_of_synsets_are_shortened_where_that_is_no_other_name():
    names = ["tench, Tinca tinca", "crane", "crane, Grus", "Smith, John"]
    ids = ["n01440764", "n03126707", "n02012849", "s1"]
    assert short_names(names, ids) == {"tench, Tinca tinca": "tench", "Smith, John": "Smith, John"}
    assert short_names(names, []) == {}


def test_bars_add_up():
    svg = str(verdict_bar({"confirmed": 1, "unremarkable": 3}))
    assert re.findall(r' x="([\d.]+)"', svg) == ["0.0", "250.0"]
    assert 'aria-label="1 confirmed, 0 suspected, 0 undecided, 0 cleared, 3 unremarkable"' in svg
    assert "rect" not in str(correlation(None))


# -- planted


def test_the_planted_classes_are_listed_with_their_ranks_and_precision(source, ranking):
    section = re.search(r'<section id="planted".*?</section>', source, re.S)
    assert section is not None
    text = Page(section[0]).text
    table = ranking.table.set_index("label")
    for label in (0, 1, 7):
        ranks = [str(table.loc[label, c]) for c in planted_columns()]
        assert " ".join([table.loc[label, "class_name"], "mark in the corner suspected", *ranks]) in text
    small = sorted(table.loc[[0, 1, 7], "small_box_rank"])
    by_hand = np.mean([(i + 1) / place for i, place in enumerate(small)])
    assert f"average precision over 12 classes 1.00 1.00 {by_hand:.2f}" in text


def planted_columns() -> list[str]:
    return [column for column, _ in planted.RANKINGS]


def test_without_planted_classes_there_is_no_such_section(tmp_path):
    write_run(tmp_path, 4, 12, 1)
    page = Page(write_report(tmp_path, rank(tmp_path, QUICK)).read_text(encoding="utf-8"))
    assert "planted" not in {a["id"] for a in page.all("section")}


def test_what_was_seen_before_the_first_image_is_in_the_page(folder, ranking, tmp_path):
    run = shutil.copytree(folder, tmp_path / "run")
    store = Store(run)
    store.note(
        Preflight(
            sample=Sample(64, 480, {"ok": 60, "no_box": 4}, {"<b>none</b>": 4}),
            boxes=BoxesSeen(60, 60, 0, 0, 71),
            sizes=SizesSeen((64, 48), (640, 480), 60, 59),
            classes=ClassMatch(12, 12, "position", (("disc", 0, ""),), Names(0), Names(0)),
            network=NetworkFacts("net", (64, 64, 3), "uint8", "float16", (0.0,), (1.0,), "softmax"),
            accuracy=Accuracy(64, 5, 0.03, 0.17, 1 / 12, 0.125, "disc"),
            decisions=("model card: net.toml, beside the model file", "the first 480 of 500 images"),
            warnings=("accuracy 5 of 64 is what chance gives",),
        )
    )
    text = Page(write_report(run, ranking).read_text(encoding="utf-8")).text
    for words_shown in (
        "Seen before the first image: accuracy 5 of 64 is what chance gives.",
        "64 of 480 looked at: 60 ok, 4 no_box; 4 x <b>none</b>",
        "59 of 60 have the size that the annotations state",
        "12 of 12 matched by position to 12 outputs: disc = output 0",
        "64 x 64 x 3 uint8, computes in float16",
        "net.toml, beside the model file",
        "the first 480 of 500 images",
    ):
        assert words_shown in text


def test_a_run_of_before_there_was_a_look_has_a_page(page):
    assert "before the first image" not in page.text
