"""A short slice of the fuzz suite; the whole is ``make fuzz N=100000``. Model files are left to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.cases import ACCEPTED, REFUSED, judge, spoilt
from tests.fuzz.readers import READERS, Reader

CASES = 12
LIGHT = [reader for reader in READERS if reader.share >= 0.3]


@pytest.mark.parametrize("reader", LIGHT, ids=lambda reader: reader.name)
def test_spoilt_files_are_read_or_refused_in_words(reader: Reader, tmp_path: Path) -> None:
    for number in range(CASES):
        outcome = judge(reader, spoilt(reader, 7, number), tmp_path)
        assert outcome.kind in (ACCEPTED, REFUSED), (number, outcome)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_good_file_is_accepted(reader: Reader, tmp_path: Path) -> None:
    kinds = [judge(reader, sample, tmp_path).kind for sample in reader.samples()]
    assert set(kinds) <= {ACCEPTED, REFUSED}
    assert kinds.count(ACCEPTED) >= len(kinds) - 1  # one sample image is of floating point, and refused


_MISBEHAVING = """
import sys
from pathlib import Path
from tests.fuzz.cases import guard, judge
from tests.fuzz.readers import Reader

folder = Path(sys.argv[1], "work")
folder.mkdir()


def fails(path):
    raise KeyError("label")


def words(path):
    raise ValueError("two")


def writes(path):
    Path(sys.argv[1], "escaped").write_bytes(b"")


def runs(path):
    import subprocess

    subprocess.run(["true"])


def changes(path):
    return path.read_bytes()


def grows(path):
    return len(bytearray(4 << 30))


guard()
for read in (fails, words, writes, runs, grows, changes):
    reader = Reader(read.__name__, ".txt", lambda: [b"good"], read, exact=read is changes)
    print(judge(reader, b"bad", folder).kind)
"""


def test_the_suite_notices_readers_that_misbehave(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _MISBEHAVING, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    seen = done.stdout.split("\n")
    assert seen[:6] == ["traceback", "traceback", "outside", "outside", "over 2 GiB", "different"]
