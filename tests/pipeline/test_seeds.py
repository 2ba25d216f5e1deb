"""Seeds by purpose: the streams that stored results were drawn from, and no other source of numbers."""

import ast
from pathlib import Path

import numpy as np
import pytest

from pipeline.seeds import ImageChoice, ImagePurpose, Purpose, alike, generator, stable_hash

ROOT = Path(__file__).parents[2]
OWNER = ROOT / "pipeline" / "seeds.py"
SOURCES = [
    path
    for package in ("pipeline", "reports", "flows")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path != OWNER
]
# Purpose -> the seed (run seed 7) that version 0.1 drew from, written out
STREAMS = {
    Purpose.BOOTSTRAP: [7, 45063],
    Purpose.CONTROL_CLASSES: [7, 1],
    Purpose.GAUSSIAN_CLOUDS: [7, 1],
    Purpose.SANITY_SAMPLE: [7, 91],
    Purpose.SANITY_TARGETS: [7, 90],
    Purpose.SHUFFLED_WEIGHTS: [7, 197],
    Purpose.DEALT_MARKS: [7, 202],
    Purpose.PHOTO_MARKS: [7, 241],
    Purpose.PHOTO_HALVES: [7, 242],
    Purpose.PREFLIGHT_SAMPLE: [7, 250],
    Purpose.SHUFFLED_GROUPS: [7, 154],
    Purpose.SHUFFLED_LABELS: [7, 155],
}


SEEDED = ("rng", "rng_at", "generator")


def sources_of_numbers(source: str) -> list[str]:
    """What makes a generator or a seed of its own in a module, and constants put into a named one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if getattr(node, "attr", getattr(node, "id", "")) in ("default_rng", "SeedSequence", "RandomState"):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in SEEDED:
            numbers = [
                a for a in node.args if isinstance(a, ast.Constant) and type(a.value) is int and a.value
            ]
            found += [ast.unparse(node)] if numbers else []
    return found


def test_nobody_else_makes_seeds():
    bad = "rng = np.random.default_rng([seed, 7])\nother = Purpose.BOOTSTRAP.rng(seed, 0xB0)"
    assert sorted(sources_of_numbers(bad)) == ["Purpose.BOOTSTRAP.rng(seed, 176)", "np.random.default_rng"]
    left = {str(p.relative_to(ROOT)): sources_of_numbers(p.read_text(encoding="utf-8")) for p in SOURCES}
    assert len(left) > 80
    assert {path: names for path, names in left.items() if names} == {}


@pytest.mark.parametrize("purpose", STREAMS, ids=lambda p: p.name)
def test_streams_are_those_of_stored_results(purpose):
    expected = np.random.default_rng(STREAMS[purpose]).integers(1 << 62, size=4)
    np.testing.assert_array_equal(purpose.rng(7).integers(1 << 62, size=4), expected)
    nested = np.random.default_rng([*STREAMS[purpose], 3]).integers(1 << 62, size=4)
    np.testing.assert_array_equal(purpose.rng(7, 3).integers(1 << 62, size=4), nested)


def test_streams_of_drawn_pictures_and_of_references():
    place = 2, 1, 4, 9
    for purpose, word in ((Purpose.DRAWN_OBJECTS, 0), (Purpose.DRAWN_MARKS, 1)):
        expected = np.random.default_rng([*place, word]).random()
        assert purpose.rng_at(*place).random() == expected
    assert Purpose.REFERENCE_PIECES.rng(0).random() == np.random.default_rng(0).random()


def splitmix64(state: int):
    """The published algorithm, in Python's own integers (Steele, Lea and Flood 2014)."""
    mask = 2**64 - 1
    while True:
        state = (state + 11400714819323198485) & mask
        z = state
        z = ((z ^ (z >> 30)) * 13787848793156543929) & mask
        z = ((z ^ (z >> 27)) * 10723151780598845931) & mask
        yield z ^ (z >> 31)


@pytest.mark.parametrize(
    ("purpose", "word"),
    [
        (Purpose.EXCHANGED_BOXES, 1),
        (Purpose.SHIFTED_BOXES, 2),
        (Purpose.DRAWN_PARTNERS, 3),
        (Purpose.TIED_AREAS, 4),
    ],
)
def test_numbers_of_images_are_splitmix64(purpose, word):
    start = int(np.random.SeedSequence([5, word]).generate_state(1, np.uint64)[0])
    stream = splitmix64(start)
    expected = np.array([next(stream) >> 1 for _ in range(12)]).reshape(4, 3)
    np.testing.assert_array_equal(purpose.numbers(5, np.arange(4), 3), expected)


def test_numbers_of_one_image():
    text = "perturbation fill 2\0cat.jpg"
    expected = np.random.default_rng([7, stable_hash(text)]).random()
    assert generator(7, "cat.jpg", ImagePurpose.FILL, 2).random() == expected
    expected = np.random.default_rng([7, stable_hash("confirm\0cat.jpg")]).random()
    assert generator(7, "cat.jpg", ImagePurpose.EDITS).random() == expected


def test_choices_of_images_are_those_of_stored_results():
    assert ImageChoice.CURVES.rank(7, "{cat}") == stable_hash("perturbation budget 7\0{cat}")
    assert ImageChoice.PHOTOS.rank(7, "cat") == stable_hash("photo canary 7\0cat")
    assert ImageChoice.EDITED.rank(7, 12) == stable_hash("confirm 7 12")


def test_purposes_that_meet_differ():
    """All words that lead to a stream of their own in one audit; equal words never meet."""
    together = [p.word for p in STREAMS if p is not Purpose.GAUSSIAN_CLOUDS]
    assert len(set(together)) == len(together)
    nulls = (Purpose.EXCHANGED_BOXES, Purpose.SHIFTED_BOXES, Purpose.DRAWN_PARTNERS, Purpose.TIED_AREAS)
    assert len({p.word for p in nulls}) == 4
    assert len(Purpose) == len(Purpose.__members__)  # no two members are aliases


def test_generators_that_are_alike():
    one, two = alike(np.random.default_rng(3), 2)
    np.testing.assert_array_equal(one.random(5), two.random(5))
    seed = int(np.random.default_rng(3).integers(1 << 62))
    assert alike(np.random.default_rng(3), 1)[0].random() == np.random.default_rng(seed).random()
