"""A file of decisions that people and the review both edit: nothing of others is lost, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from reports.decisions.book import ChangedMeanwhile, DecisionBook, stamp
from reports.decisions.fields import PolicyError
from reports.decisions.file import Decision, Waiver, is_tag, load_decisions
from reports.decisions.text import changed_text, parse

BY_HAND = """# ours; see the wiki
version = 1

# asked the biologists
[[decision]]  # the oldest
reason = "water # is where \\"fish\\" live"   # really
class = "n01"
decision = "legitimate_context"
owner = "us"
until = 2027-01-01  # then look again

# about the mark
[[decision]]
class = "n02"
decision = "clever_hans"
reason = '''
two
lines'''
owner = "them"
check = "nothing confirmed"
"""
NEW = Waiver("n01", Decision.UNSURE, "later", "me", None, decided=date(2026, 11, 26))


def test_an_entry_changes_and_all_else_stays():
    changed = changed_text(BY_HAND, 0, NEW, "d.toml")
    assert changed == BY_HAND.replace('"water # is where \\"fish\\" live"', '"later"').replace(
        '"legitimate_context"', '"unsure"'
    ).replace('owner = "us"', 'owner = "me"').replace(
        "until = 2027-01-01  # then look again\n", "decided = 2026-11-26\n"
    )
    other = replace(NEW, class_key="n03")
    added = changed_text(BY_HAND, None, other, "d.toml")
    assert added.startswith(BY_HAND)
    assert parse(added, "")[2] == other
    removed = changed_text(added, 2, None, "d.toml")
    assert removed.rstrip("\n") == BY_HAND.rstrip("\n")
    without_first = changed_text(BY_HAND, 0, None, "d.toml")
    assert [w.class_key for w in parse(without_first, "")] == ["n02"]
    assert "# about the mark" in without_first


@pytest.mark.parametrize(
    "text",
    [
        'decision = [{class = "a", decision = "unsure", reason = "r", owner = "o"}]\n',
        '[[decision]]\nclass = "a"\ndecision = "unsure"\nowner = "o"\nreason = """\n[[decision]]\n"""\n',
        '[[decision]]\nclass = "a"\ndecision = "unsure"\nowner = "o"\nreason = """\nr\n"""\n',
        '[["decision"]]\nclass = "a"\ndecision = "unsure"\nreason = "r"\nowner = "o"\n',
    ],
)
def test_what_cannot_be_changed_without_damage_is_refused(text):
    assert parse(text, "")
    with pytest.raises(PolicyError, match="edit it by hand"):
        changed_text(text, 0, NEW, "d.toml")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(texts, texts, st.dates() | st.none(), st.lists(texts.filter(is_tag), max_size=3).map(tuple))
def test_any_text_comes_back(key, reason, until, tags):
    entry = Waiver(key, Decision.CLEVER_HANS, reason, reason, until, decided=date(2026, 1, 2), tags=tags)
    text = changed_text("", None, entry, "d.toml")
    assert parse(text, "") == (entry,)
    assert parse(changed_text(text, 0, NEW, "d.toml"), "") == (NEW,)


@pytest.mark.parametrize(
    "tags", ['"water"', '["water, hands"]', '[" water"]', '[""]', f'["{41 * "x"}"]', "[1]"]
)
def test_what_is_no_tag_is_refused(tags):
    text = f'[[decision]]\nclass = "a"\ndecision = "unsure"\nreason = "r"\nowner = "o"\ntags = {tags}\n'
    with pytest.raises(PolicyError, match="decision 1: tags"):
        parse(text, "d.toml")


def test_two_reviewers_lose_nothing(tmp_path):
    path = tmp_path / "decisions.toml"
    books = [DecisionBook(path), DecisionBook(path)]  # as two servers have them

    def decide(k: int) -> None:
        for j in range(8):
            key = f"c{k}-{j}"
            entry = Waiver(key, Decision.UNSURE, "r", f"reviewer {k}", None)
            books[k].put((key,), entry, "")

    threads = [threading.Thread(target=decide, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(w.class_key for w in load_decisions(path)) == sorted(
        f"c{k}-{j}" for k in (0, 1) for j in range(8)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["decisions.toml"]


def test_who_saw_something_else_writes_nothing(tmp_path):
    book = DecisionBook(tmp_path / "decisions.toml")
    first = Waiver("n01", Decision.UNSURE, "a", "me", None)
    book.put(("n01", "tench"), first, "")
    with pytest.raises(ChangedMeanwhile) as caught:
        book.put(("n01", "tench"), NEW, "")
    assert caught.value.now == first
    assert book.about(("n01",)) == first
    by_name = Waiver("tench", Decision.UNSURE, "a", "me", None)
    (tmp_path / "decisions.toml").write_text(changed_text("", None, by_name, ""))
    book.put(("n01", "tench"), NEW, stamp(by_name))  # written by hand under its name: the same class
    assert book.read() == (NEW,)


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "decisions.toml"
    path.write_text(BY_HAND)
    code = (
        "import sys\n"
        "from reports.decisions.book import DecisionBook, stamp\n"
        "from reports.decisions.file import Decision, Waiver\n"
        "book, seen, k = DecisionBook(sys.argv[1]), '', 0\n"
        "print('go', flush=True)\n"
        "while True:\n"
        "    entry = Waiver('n09', Decision.UNSURE, 'x' * (k % 2000 + 1), 'me', None)\n"
        "    book.put(('n09',), entry, seen)\n"
        "    seen, k = stamp(entry), k + 37\n"
    )
    for k in range(3):
        done = [w for w in load_decisions(path) if w.class_key == "n09"]
        assert len(done) == min(k, 1)
        if done:
            DecisionBook(path).put(("n09",), None, stamp(done[0]))
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "go\n"
        deadline = time.monotonic() + 20
        while "n09" not in path.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05 * k)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    assert [w.class_key for w in load_decisions(path)] == ["n01", "n02", "n09"]
    assert path.read_text().startswith("# ours; see the wiki\n")


def test_no_folder_for_the_file_is_said(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        DecisionBook(Path(tmp_path / "no" / "d.toml"))
