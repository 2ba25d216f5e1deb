"""Random numbers by purpose: every seed that is used anywhere, by name.

A number depends on (run seed, purpose) and, where it belongs to one image, on that image; on nothing else.
Shard size, order of the images and number of workers therefore change no result, and two purposes that meet
in one computation never share their numbers. The words below are part of stored results: a change of one
changes what an audit finds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import Enum, StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)  # constants of splitmix64 (Steele, Lea and Flood 2014)
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Purpose(Enum):
    """What numbers are for that do not belong to one image: a word of the seed, and what it draws."""

    BOOTSTRAP = 0xB007, "images of a bootstrap sample; then: images of the class"
    EXCHANGED_BOXES = 1, "whose boxes an image gets in the absolute test"
    SHIFTED_BOXES = 2, "how far the boxes of an image move in the absolute test"
    DRAWN_PARTNERS = 3, "which of its partners an image gets in a draw of the absolute test"
    TIED_AREAS = 4, "order of images with boxes of equal area"
    EDITED_BLOCKS = 0xB1, "which classes are edited together"
    TRANSFER_BLOCKS = 0xB2, "which classes exchange windows"
    RECIPIENTS = 0xD2, "onto which pictures windows are pasted, and whose are the others; then: the block"
    MOVED_WINDOWS = 0xD3, "where else the best windows are pasted, and onto which pictures; then: the block"
    DONORS = 0xD0, "which pictures may give their background; then: class, look"
    CONTROL_CLASSES = 1, "classes that give backgrounds in `hansaudit confirm`"
    GAUSSIAN_CLOUDS = 1, "clouds without clusters, to compare clusters with"
    SANITY_SAMPLE = 0x5B, "images of the sanity check"
    SANITY_TARGETS = 0x5A, "other classes to explain in the sanity check"
    SHUFFLED_WEIGHTS = 0xC5, "weights of the shuffled network in the sanity check"
    REFERENCE_PIECES = 0, "order of the pieces of a dataset from which references are read"
    DEALT_MARKS = 0xCA, "which mark the canary plants on which class of which network"
    PHOTO_MARKS = 0xF1, "whether and where a mark lies on a photograph; then: the photograph"
    PHOTO_HALVES = 0xF2, "which photographs train and which are audited"
    SHUFFLED_LABELS = 0x9B, "which image is of which class in the check of the files"
    SHUFFLED_GROUPS = 0x9A, "which images of a class are of which group; then: the class"
    PREFLIGHT_SAMPLE = 0xFA, "images that are looked at before a run"
    LIMITED_IMAGES = 0xFC, "images of a dataset that a limit leaves"
    CURVE_CANDIDATES = 0xFB, "images among which those with perturbation curves are chosen"
    CHOICE_SAMPLE = 0xFC, "images among which those are taken that a method is chosen on"
    REPAIR = 0x4E, "which pictures choose how far a repaired last layer moves"
    REPAIR_GROUNDS = 0x4F, "which backgrounds objects are put onto in a repair"
    DRAWN_OBJECTS = 0, "background and object of a drawn picture"
    DRAWN_MARKS = 1, "mark of a drawn picture"

    def __init__(self, word: int, about: str) -> None:
        self.word = word
        self.about = about

    def rng(self, seed: int, *more: int) -> np.random.Generator:
        """The stream of this purpose in a run with ``seed``."""
        return np.random.default_rng([seed, self.word, *more])

    def rng_at(self, *place: int) -> np.random.Generator:
        """The stream at ``place``, a seed and the numbers that follow it; the purpose's word comes last."""
        return np.random.default_rng([*place, self.word])

    def numbers(self, seed: int, index: NDArray[Any], k: int) -> NDArray[np.int64]:
        """Random non-negative integers (b, k) that depend on the ``index`` (b,) of each image only.

        Counter-based (splitmix64): neither shard size nor order changes what an image draws.
        """
        start = np.random.SeedSequence([seed, self.word]).generate_state(1, np.uint64)[0]
        x = index.astype(np.uint64)[:, None] * np.uint64(k) + np.arange(k, dtype=np.uint64)
        x = start + (x + np.uint64(1)) * _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * _MIX[0]
        x = (x ^ (x >> np.uint64(27))) * _MIX[1]
        return ((x ^ (x >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


class ImagePurpose(StrEnum):
    """What the numbers of one image are for; several of a kind are numbered, see :func:`generator`."""

    FILL = "perturbation fill"  # of a repeat
    TIES = "perturbation ties"  # order of regions of equal relevance, of a repeat
    RANDOM_ORDER = "perturbation order"  # of a repeat
    PIXEL_TIES = "perturbation ties of pixels"
    EDITS = "confirm"  # places, fills and donors of the interventions
    NULL_SIGN = "interventions null"  # which of two foreign backgrounds is taken for the own


class ImageChoice(Enum):
    """Seeded choices of images: those with the smallest :meth:`rank`, in whatever order they come."""

    CURVES = "perturbation budget {seed}\0{key}"
    PHOTOS = "photo canary {seed}\0{key}"
    EDITED = "confirm {seed} {key}"
    TRANSFER = "transfer {seed} {key}"
    CONCEPTS = "concepts {seed}\0{key}"
    REPAIR = "repair {seed}\0{key}"
    METHOD = "method {seed}\0{key}"
    LIMIT = "limit {seed}\0{key}"
    PROPERTIES = "properties {seed}\0{key}"

    def rank(self, seed: int, key: str | int) -> int:
        """64 random bits of one image."""
        return stable_hash(self.value.format(seed=seed, key=key))

    def takes(self, seed: int, key: str | int, share: float) -> bool:
        """Whether an image is among the chosen ones, where each is with probability ``share``."""
        return self.rank(seed, key) < share * 2**64


def generator(seed: int, example_id: str, purpose: str, number: int | None = None) -> np.random.Generator:
    """The generator of one example and purpose (see :class:`ImagePurpose`), of its ``number``-th use."""
    name = purpose if number is None else f"{purpose} {number}"
    return np.random.default_rng([seed, stable_hash(f"{name}\0{example_id}")])


def alike(rng: np.random.Generator, count: int) -> Sequence[np.random.Generator]:
    """``count`` generators that draw the same numbers, which ``rng`` chooses."""
    seed = int(rng.integers(1 << 62))
    return [np.random.default_rng(seed) for _ in range(count)]


def stable_hash(text: str) -> int:
    """64 bits of BLAKE2b: the same in every process, unlike ``hash``."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
