"""What an archive may make this process read: headers, members and their sum are bounded."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.inputs.datasets.archives import MAX_HEADER, read_annotations, read_members
from tests.archives import write_tar, xml

MIB = 1 << 20


def with_extension(path: Path, kind: bytes, size: int) -> Path:
    """A small tgz whose one member has a header extension of ``size`` bytes, nearly all the same byte."""
    extension = tarfile.TarInfo("././@LongLink")
    extension.type, extension.size = kind, size
    body = b"a" * size if kind == tarfile.GNUTYPE_LONGNAME else _pax(size)
    member = tarfile.TarInfo("x.xml")
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(extension, io.BytesIO(body))
        archive.addfile(member)
    return path


def _pax(size: int) -> bytes:
    """One record of exactly ``size`` bytes: its length, a space, ``key=value`` and a line feed."""
    head = f"{size} comment=".encode()
    return head + b"c" * (size - len(head) - 1) + b"\n"


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_huge_header_extension_is_refused_unread(tmp_path: Path, kind: bytes) -> None:
    path = with_extension(tmp_path / "bomb.tgz", kind, 64 * MIB)
    assert path.stat().st_size < MIB // 4  # small on the disk
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=rf"bomb.tgz: a header extension of {64 * MIB} bytes"):
            list(read_members(path, MIB, 1 << 40))
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_a_long_name_within_reason_is_read(tmp_path: Path) -> None:
    name = "d/" * 300 + "x.xml"
    assert len(name) < MAX_HEADER
    path = write_tar(tmp_path / "long.tgz", {name: b"<a/>"})
    assert list(read_members(path, MIB, MIB)) == [("x.xml", b"<a/>")]


def test_what_is_unpacked_is_bounded_in_total(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "many.tgz", {f"{i}.xml": b"x" * 1000 for i in range(100)})
    assert len(list(read_members(path, MIB, 200_000))) == 100  # 100 x (1000 + 512)
    with pytest.raises(InputError, match="more than 100000 bytes when unpacked"):
        list(read_members(path, MIB, 100_000))


def test_empty_members_count_as_well(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "empty.tgz", {f"{i}.xml": b"" for i in range(1000)})
    with pytest.raises(InputError, match="when unpacked"):
        list(read_members(path, MIB, 100_000))


def test_two_annotations_of_one_image_are_refused(tmp_path: Path) -> None:
    name = "ILSVRC2012_val_00000001"
    members = {f"{part}/{name}.xml": xml(name, "n01440764", [[0, 0, 5, 5]]) for part in ("val", "other")}
    path = write_tar(tmp_path / "boxes.tgz", members)
    with pytest.raises(InputError, match=f"'{name}.xml' occurs twice"):
        read_annotations(path)


@pytest.mark.parametrize("length", [3, 10, 12])
def test_a_gzip_header_that_is_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "boxes.tgz"
    path.write_bytes(b"\x1f\x8b\x08\x04" + bytes(length - 3))
    with pytest.raises(InputError, match=r"damaged or cut off|cannot read"):
        read_annotations(path)
