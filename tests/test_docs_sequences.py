"""What docs/sequences.md shows works: relevance finds the word and the pulse that tell the class."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

PAGE = (Path(__file__).parents[1] / "docs/sequences.md").read_text(encoding="utf-8")


def test_words_and_steps_that_tell_the_class_get_the_relevance() -> None:
    made: dict[str, Any] = {}
    for source in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S):
        exec(compile(source, "docs/sequences.md", "exec"), made)
    of_words, places = made["relevance"], made["places"][:32]
    assert of_words.shape == (32, 6)
    assert (of_words.argmax(1) == places).mean() > 0.9
    per_step = made["per_step"][..., 0]
    onsets = made["onsets"][made["labels"] == 1][:32]
    inside = (np.arange(32) >= onsets[:, None]) & (np.arange(32) < onsets[:, None] + 3)
    share = (np.maximum(per_step, 0) * inside).sum(1) / np.maximum(per_step, 0).sum(1)
    assert share.mean() > 0.6  # by length 3 in 32
