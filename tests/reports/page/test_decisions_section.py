"""Decisions on the report: as text, about the run's classes only, and no part of a verdict."""

from __future__ import annotations

from datetime import date

from flows import cli
from reports.decisions.file import Decision, Waiver
from reports.decisions.text import changed_text
from reports.page.data import Beside, load_run
from reports.page.decided import tags
from reports.page.html import write_report
from reports.page.sections import decisions
from tests.reports.page.pages import HOSTILE, Page

NASTY = "<script>document.title='owned'</script>"


def test_decisions_of_the_classes_are_listed(drawn):
    said = (
        Waiver("s00000007", Decision.UNSURE, "a", "me", None),
        Waiver(HOSTILE[0], Decision.CLEVER_HANS, "b", "me", date(2027, 1, 1)),
        Waiver("of another dataset", Decision.UNSURE, "c", "me", None),
    )
    content = decisions.build(load_run(*drawn, Beside(said)))
    assert content is not None
    assert {(row["label"], row["waiver"].reason) for row in content["rows"]} == {(7, "a"), (0, "b")}
    assert decisions.build(load_run(*drawn)) is None
    assert decisions.build(load_run(*drawn, Beside(said[2:]))) is None


def test_the_report_shows_the_file_that_is_named(drawn, tmp_path, capsys):
    entry = Waiver("s00000007", Decision.LEGITIMATE_CONTEXT, NASTY, "</bdi>me", None)
    file, out = tmp_path / "decisions.toml", tmp_path / "r.html"
    file.write_text(changed_text("", None, entry, ""))
    command = ["report", str(drawn[0]), "--decisions", str(file), "--out", str(out)]
    assert cli.run(command) == cli.DONE
    page = Page(out.read_text())
    assert len(page.all("script")) == 1
    words = [word.strip() for word in page.words]
    assert {"legitimate context", NASTY, "</bdi>me", "no date: waives nothing"} <= set(words)
    file.write_text("version = 9")
    assert cli.run(command) == cli.WRONG_INPUT
    assert "version is 9" in capsys.readouterr().err


def test_tags_stand_beside_their_class_and_are_found(drawn, tmp_path):
    tagged = Waiver("s00000007", Decision.UNSURE, "a", "me", None, tags=("water", NASTY))
    partly = Waiver("s00000007", Decision.UNSURE, "b", "me", None, "one check", tags=("water", "hands"))
    beside = Beside(
        (tagged, partly, Waiver("of another dataset", Decision.UNSURE, "c", "me", None, tags=("x",)))
    )
    assert tags(load_run(*drawn, beside)) == {7: ("water", NASTY, "hands")}
    source = write_report(*drawn, tmp_path / "r.html", beside).read_text()
    row = Page(source[source.index('id="row-7"') - 5 :].partition("</tr>")[0])
    assert {"water", NASTY, "hands"} <= {word.strip() for word in row.words}
    assert len(Page(source).all("script")) == 1
    assert "id or tag" in source
    assert "id or tag" not in write_report(*drawn, tmp_path / "none.html").read_text()
