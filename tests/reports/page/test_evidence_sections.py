"""The sections that appear when their table is there: interventions, strategies, perturbation curves."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from pipeline.run.hashes import hashed
from pipeline.run.store import Store
from pipeline.statistics.comparison import compare
from pipeline.statistics.ranking import Ranking, rank
from reports.decisions.file import Decision, Waiver
from reports.page.data import NOTHING_BESIDE, Beside
from reports.page.html import write_report
from reports.page.sections import all_sections
from tests.reports.page.pages import (
    HOSTILE,
    Page,
    edited,
    write_canary,
    write_curves,
    write_everything,
    write_groups,
    write_methods,
    write_properties,
    write_sanity,
    write_strategies,
    write_triage,
)


@pytest.fixture
def folder(drawn: tuple[Path, Ranking], tmp_path: Path) -> Path:
    return shutil.copytree(drawn[0], tmp_path / "run")


def page_of(folder: Path, ranking: Ranking, beside: Beside = NOTHING_BESIDE) -> Page:
    page = Page(write_report(folder, ranking, beside=beside).read_text(encoding="utf-8"))
    for tag, attributes in page.tags:
        assert not [a for a in attributes if a.startswith("on") or a == "style"], (tag, attributes)
    assert len(page.all("script")) == 1
    return page


def section(folder: Path, name: str) -> str:
    """Text of a section of the report that lies in ``folder``."""
    source = (folder / "report.html").read_text(encoding="utf-8")
    found = re.search(rf'<section id="{name}".*?</section>', source, re.S)
    assert found is not None
    return Page(found[0]).text


def test_confirmed_classes_make_the_headline(folder):
    """Of the marked classes one is confirmed, one cleared, one open; one is confirmed that no map shows."""
    showed = {0: "depends", 1: "independent", 7: "undecided", 4: "depends", 5: "rim"}
    ranking = edited(folder, dict.fromkeys(range(12), "independent") | showed)
    text = page_of(folder, ranking).text
    assert "Two of 12 classes are right for the wrong reason" in text
    assert "Interventions confirm it" in text
    assert "The heat maps do not show one of them" in text
    assert "class 005: what the network needs beside the object vanishes when the rim" in text
    assert "One of them is confirmed, with one false alarm" in text
    assert "What does this not show?" not in text
    assert HOSTILE[0] in text
    tested = section(folder, "confirm")
    assert "180 images of 12 classes" in tested  # 11 of 16, one of 4
    assert "2 needs its background" in tested
    assert "1 the rim of the box" in tested
    # the habits of tests.edited_runs: 0.8 - 0.1 without the object, 0.95 - 0.4 with it
    row = re.split(HOSTILE[4] + r" confirmed \w+ needs its background 16", tested)[1]
    first, second = (float(v) for v in re.findall(r"\+(0\.\d\d) \+0\.\d\d … ", row)[:2])
    assert (first, second) == (pytest.approx(0.7, abs=0.02), pytest.approx(0.55, abs=0.02))
    assert re.search(r"class 005 undecided \w+ the rim of the box", tested)
    assert "not decided needs" in tested
    assert "no class" not in tested
    assert "0 classes would be confirmed: it should be none" in tested


def test_every_confirmed_class_has_a_card_with_what_its_images_showed(folder):
    ranking = edited(folder, dict.fromkeys(range(12), "independent") | {0: "depends", 4: "depends"})
    page_of(folder, ranking)
    source = (folder / "report.html").read_text(encoding="utf-8")
    for label, unseen in ((0, False), (4, True)):
        card = re.search(rf'<article class="card" id="card-{label}">.*?</article>', source, re.S)
        assert card is not None
        text = Page(card[0]).text
        assert "The network needs what lies beside the object: on 16 edited images" in text
        assert ("The heat maps do not show it" in text) == unseen
        for heading in ("background alone", "object alone", "with a wider rim", "background gap"):
            assert heading in text


def test_cleared_classes_are_no_headline(folder):
    ranking = edited(folder, dict.fromkeys(range(12), "independent"))
    text = page_of(folder, ranking).text
    assert "No class was found to be right for the wrong reason" in text
    assert "the network does not need what is there" in text
    assert "0 suspected" in text
    assert "3 cleared" in text
    assert "These come closest" in text


def test_maps_that_failed_their_check_suspect_nobody_and_say_so(folder):
    write_sanity(folder, insensitive=True)
    ranking = rank(folder)
    text = page_of(folder, ranking).text
    assert set(ranking.table["verdict"]) == {"undecided"}
    assert "The maps failed their sanity check, so no class is suspected by them" in text
    confirmed = edited(folder, {0: "depends", 4: "independent"}).table.set_index("label")["verdict"]
    assert confirmed.loc[[0, 4, 5]].tolist() == ["confirmed", "unremarkable", "undecided"]


def test_strategies_show_groups_candidates_and_prototypes(folder, ranking):
    ids = write_strategies(folder, ranking, 1)
    page = page_of(folder, ranking)
    source = (folder / "report.html").read_text(encoding="utf-8")
    section = re.search(r'<section id="strategies".*?</section>', source, re.S)
    assert section is not None
    text = Page(section[0]).text
    assert "Two groups among 18 maps, 1 is a candidate. Separability 0.88; chance alone reaches 0.50" in text
    assert "\u22122.25" in text
    assert "One strategy: its 18 maps form a single group" in text
    assert "Not clustered: 3 maps." in text
    assert "class 008" not in text, "another method's strategies"
    assert section[0].count('class="chip suspected">candidate') == 1
    for key in (ids[0], ids[1], ids[2], ids[3]):
        assert f"{key}.JPEG" in text
    assert HOSTILE[1] in page.text


def test_perturbation_curves_give_the_differences_of_the_aopc(folder, ranking):
    parts = sorted(p.name for p in (folder / "examples").glob("*.parquet"))
    for i, part in enumerate(parts):
        write_curves(folder, [f"{i}-{k}" for k in range(3 + i)], part)
    page = page_of(folder, ranking)
    images = sum(3 + i for i in range(len(parts)))
    # means of the curves: morf 0.4, random 0.6, lerf 0.8; half of that for the gradient
    assert f"lrp.preset_a {images} +0.200 +0.400" in page.text
    assert f"gradient {images} +0.100 +0.200" in page.text
    assert "most relevant first" in page.text
    assert "Pixels deleted and inserted" not in page.text


def test_the_first_classes_have_curves_of_their_own(folder, ranking):
    images = ds.dataset(folder / "examples").to_table(columns=["example_id", "label", "shard"]).to_pandas()
    shard = str(images["shard"].iloc[0])
    mine = images[images["shard"].astype(str) == shard].groupby("label")["example_id"].head(4)
    write_curves(folder, mine.tolist(), f"part-{shard}.parquet")
    write_sanity(folder, insensitive=True)
    page = page_of(folder, ranking)
    text = page.text[page.text.index("The same for the first classes of the ranking") :]
    having = set(images.loc[mine.index, "label"])
    first = [row for row in ranking.table.head(6).itertuples() if row.label in having]
    assert first
    assert len([a for a in page.all("svg") if a.get("class") == "figure small"]) == len(first)
    # 4 images; the mean curves differ by 0.4
    assert text.count("4 images, gap +0.40") == len(first)
    # the method that fails its check is marked where its curves are compared
    assert "lrp.preset_a insensitive to the weights" in text[: text.index("How to read this")]


def test_a_method_that_fails_its_sanity_check_is_said_at_the_top(folder, ranking):
    write_sanity(folder, insensitive=True)
    page = page_of(folder, ranking)
    head = page.text[: page.text.index("images audited")]
    assert "Caution: the maps of lrp.preset_a are insensitive to the weights" in head
    assert "on which this report rests, are insensitive to the weights" in page.text


def test_a_method_that_could_not_be_checked_is_said_with_the_reason(folder, ranking):
    write_sanity(folder, insensitive=False, unchecked="the <copy> has other logits")
    page = page_of(folder, ranking)
    assert "depend on the network is unchecked" in page.text
    assert "lrp.preset_a could not be checked: the <copy> has other logits" in page.text
    assert "as they should" not in page.text


def test_a_method_that_passes_is_not_warned_of_while_another_is_marked(folder, ranking):
    write_sanity(folder, insensitive=False)
    page = page_of(folder, ranking)
    assert "Caution" not in page.text
    assert "change when the network's knowledge is destroyed, as they should" in page.text
    rows = page.text[page.text.index("another class Verdict") :]
    assert "ρ 0.12 · SSIM \u2013" in rows
    assert rows.index("passed") < rows.index("guided_backprop") < rows.index("class blind")


def test_methods_are_ranked_with_their_intervals(folder, ranking):
    write_methods(folder)
    text = page_of(folder, ranking).text
    assert "1 lrp.preset_a +0.250 +0.125 … +0.375 best" in text
    assert "2 gradient +0.250" in text
    assert "tied with the best" in text
    assert "Over the 31 images for which every method has a curve (2 left out)" in text


def test_what_the_canary_would_have_missed_stands_in_the_head_and_in_its_section(folder, ranking):
    write_canary(folder)
    text = page_of(folder, ranking).text
    line = "this audit would have missed marks smaller than 9% of the picture's side"
    assert text.count(line) == 2
    assert text.index(line) < text.index("The classes in pictures")
    source = (folder / "report.html").read_text(encoding="utf-8")
    section = source[source.index('id="canary"') :]
    rows = [Page(row).text.strip() for row in re.findall(r"<tr><th scope=.row.*?</tr>", section, re.S)[:3]]
    assert [(row.split()[0], row.split()[-1]) for row in rows] == [
        ("patch", "missed"),
        ("patch", "found"),
        ("text", "used"),
    ]
    assert rows[0].startswith("patch 5\u202f% 50\u202f% +0.25 unremarkable undecided")
    assert "its heat maps alone 0.88 0.94 \u2013" in text
    assert "Among 20 classes without a mark, 2 were suspicious by their maps and 0 confirmed" in text


def test_a_canary_on_photographs_says_so_and_how_many_carry_the_mark(folder, ranking):
    write_canary(folder)
    path = folder / "canary.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["about"] = "lrp.preset_a, 3 linear heads on net, real photographs"
    content["cells"][0]["carried"] = 0.75
    path.write_text(json.dumps(hashed(content)), encoding="utf-8")
    page = page_of(folder, ranking)
    assert "3 networks were trained on real photographs (a linear head on the frozen features" in page.text
    assert re.search(r"50.%\s+75.% carry it", page.text)
    assert page.text.count("carry it") == 1


def test_the_worst_group_is_named_with_its_interval_and_hostile_names_stay_text(folder, ranking):
    write_groups(folder, ranking)
    page = page_of(folder, ranking)
    name = ranking.table.set_index("label").loc[0, "class_name"]
    said = f"Worst group: {name}, place {HOSTILE[1]}: 28\u202f% right [12\u202f%, 88\u202f%] of 40 images"
    assert said in page.text
    assert "mean of 2 groups 59\u202f%" in page.text
    assert "Of 17 images the place is not known" in page.text
    assert "cannot be the worst (here 1)" in page.text
    assert "+0.38" in page.text
    assert "unknown" in page.text


def test_groups_without_figures_are_one_line(folder, ranking):
    write_groups(folder, ranking, note="4,000 different groups over 4,000 images: that looks like an id")
    page = page_of(folder, ranking)
    assert "4,000 different groups over 4,000 images: that looks like an id" in page.text
    assert "Worst group" not in page.text


def test_a_property_that_tells_a_class_is_said_in_words(folder, ranking):
    write_properties(folder, ranking)
    text = page_of(folder, ranking).text
    name = ranking.table.set_index("label").loc[1, "class_name"]
    words = "from the rest with AUC 0.98 (lower): a shortcut that lies in the files"
    assert f"JPEG quality tells {name} {words}" in text
    assert "0.88 … 0.99" in text  # of the strength: the other way round
    assert "quality that the file's quantisation tables stand for" in text


def test_files_that_say_nothing_are_said_to(folder, ranking):
    write_properties(folder, ranking, loud=False)
    text = page_of(folder, ranking).text
    assert "No single property tells a class from the rest beyond chance with an AUC above 0.75" in text


def test_a_run_with_everything_shows_every_section(folder, ranking):
    """A section that is registered and not shown here has no run that it is tested with."""
    class_id = ranking.table["class_id"].iloc[0]
    decided = Waiver(class_id, Decision.LEGITIMATE_CONTEXT, "water belongs to a fish", "Ada", None)
    verdicts = dict(zip(ranking.table["label"], ranking.table["verdict"], strict=True))
    compared = compare(Store(folder), Store(folder), (verdicts, verdicts))
    page = page_of(folder, write_everything(folder, ranking), Beside((decided,), compared))
    shown = [a["id"] for a in page.all("section")]
    assert shown == [part.name for part in all_sections()]


def test_without_their_tables_there_are_no_such_sections(folder, ranking):
    shown = {a["id"] for a in page_of(folder, ranking).all("section")}
    assert shown.isdisjoint(
        {"confirm", "strategies", "perturbation", "sanity", "methods", "canary", "groups", "properties"}
    )


def test_what_the_run_cost_stands_beside_its_forecast(folder, drawn):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    told = {"forecast": [{"stage": "audit", "seconds": 100.0}], "spent": {"audit": 90.0, "ranking": 2.0}}
    for added, expected in ((told, "audit 1 min 30 s (1 min 40 s); ranking 2.0 s"), ({"spent": 7}, None)):
        manifest["sessions"][-1] |= added
        path.write_text(json.dumps(hashed(manifest)), encoding="utf-8")
        page_of(folder, drawn[1])
        text = section(folder, "provenance")
        assert expected is None or expected in text
        assert ("cost of the last session" in text) == (expected is not None)


def test_where_the_time_of_the_audit_went_is_said(folder, drawn):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for busy, expected in (
        ({"reading": 1.25, "metrics": 65.0}, "reading 1.2 s; metrics 1 min 05 s"),
        (7, None),
    ):
        manifest["sessions"][-1]["busy"] = busy
        path.write_text(json.dumps(hashed(manifest)), encoding="utf-8")
        page_of(folder, drawn[1])
        text = section(folder, "provenance")
        assert expected is None or expected in text
        assert ("inside the audit" in text) == (expected is not None)


def test_doubtful_labels_and_boxes_are_shown_apart(folder, ranking):
    ids = write_triage(folder, ranking)
    page = page_of(folder, ranking)
    text = section(folder, "triage")
    assert "1 image looks as if the label were wrong, 1 image as if the box were" in text
    assert "the network says " + HOSTILE[1] in text
    assert re.search(r"98\u202f% \(images labelled so: 90\u202f%\)", text)
    assert "its mark may be in this picture" in text
    assert "4.3 deviations below" in text or "4.2 deviations below" in text
    assert "keeps 5\u202f% of the probability, the rest without it 85\u202f%, as with a box in" in text
    assert "3 images lie as far above the class" in text
    assert "triage.csv" in text
    assert "Look through 2 images whose label or box may be wrong" in page.text
    source = (folder / "report.html").read_text(encoding="utf-8")
    part = source[source.index('<section id="triage"') :].partition("</section>")[0]
    assert part.count('class="candidate"') == len(ids) == 2
    accused = ("confirmed", "suspected")
    before = {v: int((ranking.table["verdict"] == v).sum()) for v in accused}
    after = rank(folder).table["verdict"]
    assert before == {v: int((after == v).sum()) for v in accused}  # candidates change no verdict


def test_of_many_doubtful_labels_the_page_says_how_many_there_are(folder, ranking):
    write_triage(folder, ranking, label_candidates=5000)
    page = page_of(folder, ranking)
    text = section(folder, "triage")
    assert "5\u202f000 images look as if the label were wrong, 1 image as if the box were" in text
    assert "1 candidate as a list, the first of 5\u202f000" in text
    assert "Look through 5\u202f001 images whose label or box may be wrong" in page.text
