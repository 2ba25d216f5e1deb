"""Many pictures through the network in full batches; the next ones are made while it looks at these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

from pipeline.measure.bench import Bench

Key = TypeVar("Key")
Said = TypeVar("Said")


def answers(
    bench: Bench, ask: Callable[[np.ndarray], Said], pictures: Iterator[tuple[Key, np.ndarray]]
) -> Iterator[tuple[list[Key], Said]]:
    """Batch by batch: the keys of the pictures ((h, w, 3) uint8 each), and what the network says to them.

    ``ask``: a method of an :class:`~pipeline.measure.evaluate.Evaluator` for inputs (n, h, w, 3).
    """

    def prepared() -> tuple[list[Key], np.ndarray | None]:
        batch = list(islice(pictures, bench.config.execution.batch_size))
        stacked = np.stack([picture for _, picture in batch]) if batch else None
        keys = [key for key, _ in batch]
        return keys, None if stacked is None else bench.model.card.prepare(stacked)

    with ThreadPoolExecutor(1, "edit") as making:
        coming = making.submit(prepared)
        while True:
            keys, inputs = coming.result()
            if inputs is None:
                return
            coming = making.submit(prepared)
            yield keys, ask(inputs)
