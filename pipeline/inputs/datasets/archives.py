"""The official ILSVRC archives as streams: nothing is unpacked to disk, nothing in them is trusted."""

from __future__ import annotations

import csv
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self, cast

import defusedxml.ElementTree as SafeXml
import numpy as np
from defusedxml.common import DefusedXmlException

from pipeline.errors import InputError
from pipeline.inputs.objects.places import place

MAX_XML = 1 << 20
MAX_IMAGE = 1 << 28
MAX_TOTAL_XML = 1 << 31  # half a million annotations of the training set have 0.3 GiB
MAX_TOTAL_IMAGES = 1 << 40
MAX_HEADER = 1 << 16  # long names and extended headers, which are read before a member's size is known
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_WNID = re.compile(r"n\d{8}\Z")


@dataclass(frozen=True)
class Annotation:
    """``synset`` ("" without objects) and (n, 4) int boxes xmin, ymin, xmax, ymax, 0-based inclusive."""

    synset: str
    boxes: np.ndarray


class _Refused(Exception):
    """What a header says is not to be read."""


class _Header(tarfile.TarInfo):
    """A member's header; an extension of it that is larger than any name needs is refused unread."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _HEADERS and header.size > MAX_HEADER:
            raise _Refused(f"a header extension of {header.size} bytes, more than {MAX_HEADER}, is refused")
        return header


def read_members(path: str | Path, limit: int, total: int) -> Iterator[tuple[str, bytes]]:
    """(base name, bytes) of every regular file of a tar, compressed or not, in one pass.

    Raises :class:`InputError` for a missing, damaged or truncated archive, a name that climbs out of the
    archive or occurs twice, a link or device, a member of more than ``limit`` bytes, and more than ``total``
    bytes of members and headers, unpacked.
    """
    n, unpacked = 0, 0
    names: set[str] = set()
    try:
        with _opened(path) as file, tarfile.open(fileobj=file, mode="r|*", tarinfo=_Header) as archive:
            for member in archive:
                unpacked += tarfile.BLOCKSIZE + member.size
                if unpacked > total:
                    raise InputError(f"{path}: more than {total} bytes when unpacked, after {n} files")
                if member.isdir():
                    continue
                name = _safe_name(member, path)
                if name in names:
                    raise InputError(f"{path}: member {name!r} occurs twice; one of them is not meant")
                names.add(name)
                if member.size > limit:
                    raise InputError(f"{path}: member {name!r} has {member.size} bytes, more than {limit}")
                content = archive.extractfile(member)
                data = content.read() if content else b""
                if len(data) != member.size:
                    raise InputError(
                        f"{path}: the archive is cut off inside member {name!r}, after {n} files"
                    )
                n += 1
                yield name, data
    except _Refused as error:
        raise InputError(f"{path}: {error}, after {n} files") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot read the archive after {n} files: {error.strerror or error}"
        ) from None
    # TypeError: tarfile on a gzip header that is cut off
    except (tarfile.TarError, EOFError, TypeError, zlib.error) as error:
        raise InputError(f"{path}: damaged or cut off after {n} files: {error}") from None


def _opened(path: str | Path) -> BinaryIO:
    """The archive's bytes. Raises OSError, and :class:`InputError` for a store that cannot be read."""
    where = place(path)
    return where.open("rb") if isinstance(where, Path) else cast(BinaryIO, where.open_bytes())


def _safe_name(member: tarfile.TarInfo, path: str | Path) -> str:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise InputError(f"{path}: member {member.name!r} points outside the archive; it is refused")
    if not member.isfile():
        raise InputError(f"{path}: member {member.name!r} is a link or device; valid are plain files")
    return name.name


def read_annotations(path: str | Path) -> dict[str, Annotation]:
    """Image name without suffix -> annotation, from the official tgz of XML files or Kaggle's csv.

    Raises :class:`InputError` for anything unreadable, XML bombs included.
    """
    if not place(path).is_file():
        raise InputError(f"{path}: no such file; give ILSVRC2012_bbox_val_v3.tgz or LOC_val_solution.csv")
    if str(path).endswith(".csv"):
        return _read_csv(path)
    found = {
        name.removesuffix(".xml"): parse_xml(data, f"{path}: {name}")
        for name, data in read_members(path, MAX_XML, MAX_TOTAL_XML)
        if name.endswith(".xml")
    }
    if not found:
        raise InputError(
            f"{path}: holds no XML file; give ILSVRC2012_bbox_val_v3.tgz or LOC_val_solution.csv"
        )
    return found


def parse_xml(data: bytes, where: str) -> Annotation:
    """One PASCAL-VOC-like file of the official box archive; its coordinates are 0-based and inclusive."""
    try:
        root = SafeXml.fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise InputError(f"{where}: refused, it defines entities or a DTD ({type(error).__name__})") from None
    except (SafeXml.ParseError, ValueError, LookupError) as error:  # the latter two: encodings
        raise InputError(f"{where}: not well-formed XML: {error}") from None
    synsets, boxes = [], []
    for item in root.iter("object"):
        sides = [item.findtext(f"bndbox/{side}", "") for side in ("xmin", "ymin", "xmax", "ymax")]
        try:
            boxes.append([int(float(side)) for side in sides])
        except (ValueError, OverflowError):
            raise InputError(f"{where}: a box is not four numbers: {sides}") from None
        synsets.append(item.findtext("name", "").strip())
    return _annotation(synsets, boxes, where)


def _read_csv(path: str | Path) -> dict[str, Annotation]:
    """Kaggle's ``ImageId,PredictionString`` with ``wnid x1 y1 x2 y2`` repeated."""
    found = {}
    try:
        with place(path).open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if {"ImageId", "PredictionString"} - set(rows.fieldnames or ()):
                raise InputError(f"{path}: columns are {rows.fieldnames}; valid: ImageId, PredictionString")
            for row in rows:
                found[row["ImageId"]] = _parse_row(row["PredictionString"] or "", f"{path}: {row['ImageId']}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot read the csv: {error}") from None
    return found


def _parse_row(text: str, where: str) -> Annotation:
    words = text.split()
    try:
        boxes = [[int(float(word)) for word in words[i + 1 : i + 5]] for i in range(0, len(words), 5)]
    except (ValueError, OverflowError):
        raise InputError(f"{where}: not `wnid x1 y1 x2 y2 ...`: {text[:60]!r}") from None
    if len(words) % 5:
        raise InputError(f"{where}: not `wnid x1 y1 x2 y2 ...`: {text[:60]!r}")
    return _annotation(words[::5], boxes, where)


def _annotation(synsets: list[str], boxes: list[list[int]], where: str) -> Annotation:
    if any(abs(side) >= 2**31 for box in boxes for side in box):
        raise InputError(f"{where}: a coordinate does not fit into 32 bits")
    if len(set(synsets)) > 1:
        raise InputError(f"{where}: names several classes ({', '.join(sorted(set(synsets)))}); valid is one")
    if synsets and not _WNID.match(synsets[0]):
        raise InputError(f"{where}: {synsets[0]!r} is not a synset such as n01440764")
    return Annotation(synsets[0] if synsets else "", np.array(boxes, np.int32).reshape(-1, 4))
