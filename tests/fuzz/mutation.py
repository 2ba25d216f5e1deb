"""Seeded mutations of files: bytes for binary ones, words and numbers for text."""

from __future__ import annotations

import re

import numpy as np

_WORDS = (
    *(b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n\n", b'"', b"'", b"\\", b"/", b"../", b"-"),
    *(b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"1e-320", b"9" * 400, b"9" * 5000, b"0x10", b"1_000"),
    *(b"true", b"null", b"[]", b"{}", b"[[[[", b"]]]]", b"{" * 3000, b"[" * 3000, b"=1+1", b"\x1b[31m"),
    *(
        "\u202e".encode(),
        "\u0130".encode(),
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
        b"&b;",
        b"<a>",
        b"</annotation>",
    ),
    *(b"2026-01-01", b"1979-05-27T07:32:00Z", b"__import__('os')", b"%s%n", b"${jndi:x}", b"\xed\xa0\x80"),
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with one to four things wrong with it."""
    for _ in range(int(rng.integers(1, 5))):
        data = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](data, rng)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(len(data) + 1))


def _word(rng: np.random.Generator) -> bytes:
    return _WORDS[int(rng.integers(len(_WORDS)))]


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return data
    spoilt = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        spoilt[int(rng.integers(len(spoilt)))] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def _drop(data: bytes, rng: np.random.Generator) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + int(rng.integers(1, 200)) :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + _word(rng) + data[at:]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    start = _place(data, rng)
    piece = data[start : start + int(rng.integers(1, 400))]
    return data[:start] + piece * int(rng.integers(2, 6)) + data[start:]


def _move(data: bytes, rng: np.random.Generator) -> bytes:
    a, b = sorted(_place(data, rng) for _ in range(2))
    return data[b:] + data[a:b] + data[:a]


def _number(data: bytes, rng: np.random.Generator) -> bytes:
    numbers = list(_NUMBER.finditer(data))
    if not numbers:
        return _insert(data, rng)
    match = numbers[int(rng.integers(len(numbers)))]
    return data[: match.start()] + _word(rng) + data[match.end() :]


def _token(data: bytes, rng: np.random.Generator) -> bytes:
    words = list(re.finditer(rb"[A-Za-z_]{2,}", data))
    if not words:
        return _flip(data, rng)
    a, b = (words[int(rng.integers(len(words)))] for _ in range(2))
    return data[: a.start()] + b[0] + data[a.end() :]


_MUTATIONS = (_flip, _flip, _cut, _drop, _insert, _insert, _repeat, _move, _number, _number, _token)
