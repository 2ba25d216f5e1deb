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


class Window(Term):
    """Which window of a picture is pasted onto others."""

    RELEVANT = "relevant", "the one with most relevance beside the object"
    OTHER_PLACE = "other_place", "one at the place of another picture's most relevant window"


class FileProperty(Term):
    """What is said of a picture without any network; a class that one of them tells has a shortcut.

    The first ones are of the file, then come those of the picture as the network sees it, then of its boxes.
    """

    JPEG_QUALITY = "jpeg_quality", "quality that the file's quantisation tables stand for, 1 to 100"
    IS_JPEG = "is_jpeg", "the file is a JPEG"
    WIDTH = "width", "width of the original picture"
    HEIGHT = "height", "height of the original picture"
    ASPECT = "aspect", "width over height of the original picture"
    BYTES_PER_PIXEL = "bytes_per_pixel", "size of the file over that of the picture; low where it is smooth"
    BRIGHTNESS = "brightness", "mean luminance, 0 to 1"
    CONTRAST = "contrast", "standard deviation of the luminance"
    SATURATION = "saturation", "mean difference of the largest and the smallest channel"
    RED_CAST = "red_cast", "mean red less mean green"
    BLUE_CAST = "blue_cast", "mean blue less mean green"
    SHARPNESS = "sharpness", "variance of the Laplacian; low where the picture is blurred"
    BOX_AREA = "box_area", "share of the input inside the boxes"
    BOXES = "boxes", "number of boxes"

    @property
    def words(self) -> str:
        """The name as it is written in running text."""
        return super().words.replace("jpeg", "JPEG")

    @property
    def origin(self) -> str:
        """Where it lies: file, picture or boxes."""
        if self in (FileProperty.BOX_AREA, FileProperty.BOXES):
            return "boxes"
        place = list(FileProperty).index(self)
        return "file" if place <= list(FileProperty).index(FileProperty.ASPECT) else "picture"
