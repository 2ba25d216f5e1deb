"""What a zip of strangers may make this process read: names, kinds, sizes and the list of members."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.inputs.datasets import zip_archives
from pipeline.inputs.datasets.zip_archives import MAX_DIRECTORY, open_zip
from tests.archives import write_zip

MIB = 1 << 20


def with_entry(path: Path, entry: zipfile.ZipInfo, data: bytes = b"x") -> Path:
    """A zip with one good member and ``entry``."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.txt", "good")
        archive.writestr(entry, data)
    return path


def refusal(path: Path, total: int = MIB) -> str:
    with pytest.raises(InputError) as error, open_zip(path, total):
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["../up.txt", "a/../../up.txt", "/etc/passwd", "..\\up.txt"])
def test_a_name_that_leaves_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    entry = zipfile.ZipInfo("placeholder")
    entry.filename = name
    assert "points outside the archive" in refusal(with_entry(tmp_path / "a.zip", entry))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (kind | 0o777) << 16
    assert "is a link or device" in refusal(with_entry(tmp_path / "a.zip", entry, b"/etc/passwd"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    assert "occurs twice" in refusal(with_entry(tmp_path / "a.zip", zipfile.ZipInfo("good.txt")))


def test_methods_whose_unpacking_has_no_bound_are_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("bomb")
    entry.compress_type = zipfile.ZIP_LZMA
    path = with_entry(tmp_path / "a.zip", entry, bytes(64 * MIB))
    assert path.stat().st_size < MIB
    assert "packed by method 14" in refusal(path, 1 << 40)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"secret.txt": b"x"})
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    assert "is encrypted" in refusal(path)


def test_sizes_are_bounded_each_and_in_total(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a": bytes(1000), "b": bytes(2000)})
    assert "more than 2999 bytes when unpacked" in refusal(path, 2999)
    with open_zip(path, 3000) as members:
        assert members.read("a", 1000) == bytes(1000)
        with pytest.raises(InputError, match="'b' has 2000 bytes, more than 1999"):
            members.read("b", 1999)


def test_a_member_that_unpacks_to_more_than_it_says_is_cut_and_noticed(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"bomb": bytes(64 * MIB)})
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + place, 1000)
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with open_zip(path, MIB) as members, pytest.raises(InputError, match="inside member 'bomb'"):
            members.read("bomb", MIB)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_a_huge_list_of_members_is_refused_unread(tmp_path: Path) -> None:
    size, path = MAX_DIRECTORY + 1, tmp_path / "many.zip"
    with path.open("wb") as file:
        file.truncate(size)  # a hole: nothing on the disk
        file.seek(size)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0))
    tracemalloc.start()
    try:
        assert f"a list of members of {size} bytes" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_what_is_no_zip_or_is_missing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 and nothing more" * 20)
    assert "damaged or cut off" in refusal(tmp_path / "no.zip")
    assert "No such file" in refusal(tmp_path / "missing.zip")
    assert "cannot read" in refusal(tmp_path)


def test_the_bound_on_the_list_leaves_ordinary_archives_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{i:03}": b"" for i in range(100)})
    with open_zip(path, MIB) as members:
        assert sorted(members.members) == [f"{i:03}" for i in range(100)]
    monkeypatch.setattr(zip_archives, "MAX_DIRECTORY", 4000)  # 100 entries of 46 bytes and a name of 3
    assert "a list of members of 4900 bytes" in refusal(path)
