"""Words that are stored in tables and shown to people: strings that know what they mean."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Term(StrEnum):
    """A stored word with its ``meaning``, a clause that can follow a colon.

    Members are strings: they are stored, compared and printed as their name.
    """

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    @property
    def words(self) -> str:
        """The name as it is written in running text."""
        return self.value.replace("_", " ")


class CurveOrder(Term):
    """In which order a perturbation curve replaces the parts of a picture.

    The first three replace regions (Samek et al. 2017), the others pixels (Petsiuk et al. 2018, "RISE").
    """

    MORF = "morf", "most relevant first"
    LERF = "lerf", "least relevant first"
    RANDOM = "random", "random order"
    DELETION = "deletion", "the most relevant pixels are deleted first"
    INSERTION = "insertion", "the most relevant pixels are inserted first"

    @property
    def by_pixel(self) -> bool:
        """Whether single pixels are replaced, instead of regions."""
        return self in (CurveOrder.DELETION, CurveOrder.INSERTION)
