"""Messages are lines that a terminal shows and does not obey."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import LONGEST, InputError, plain


def test_control_characters_are_shown_and_not_obeyed() -> None:
    text = str(InputError("class 'a\x1b[31m\r\u202eb\udcff': unknown"))
    assert text == "class 'a\\x1b[31m\\r\\u202eb\\udcff': unknown"


def test_a_long_line_loses_its_middle() -> None:
    text = plain("start " + "x" * 10_000 + " end")
    assert len(text) == LONGEST
    assert text.startswith("start x")
    assert text.endswith("x end")
    assert " ... " in text


@given(st.text())
def test_every_line_can_be_printed(message: str) -> None:
    shown = plain(message)
    assert all(line.isprintable() and len(line) <= LONGEST for line in shown.split("\n"))
    assert plain(shown) == shown
    shown.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=LONGEST))
def test_what_is_printable_stays_as_it_is(message: str) -> None:
    expected = message.rstrip() if all(c.isprintable() for c in message) else plain(message)
    assert plain(message) == expected


def test_errors_travel_between_processes() -> None:
    assert str(pickle.loads(pickle.dumps(InputError("a\x00b")))) == "a\\x00b"


def test_a_long_token_in_a_url_is_hidden_and_a_text_of_nothing_but_beginnings_is_read() -> None:
    assert plain(f"cannot read s3://{'t' * 3000}@photos/cat") == "cannot read s3://***@photos/cat"
    assert plain("://" * 20_000).startswith("://://")  # takes a minute where each is searched to the end
