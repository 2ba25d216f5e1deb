"""Many pictures through the network in full batches; the next ones are made while it looks at these."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

from pipeline.measure.bench import Bench
from pipeline.measure.evaluate import Evaluator

Key = TypeVar("Key")


def answers(
    bench: Bench, evaluator: Evaluator, pictures: Iterator[tuple[Key, np.ndarray]]
) -> Iterator[tuple[list[Key], np.ndarray]]:
    """Batch by batch: the keys of the pictures ((h, w, 3) uint8 each), and what the network says, (n, k)."""

    def prepared() -> tuple[list[Key], np.ndarray | None]:
        batch = list(islice(pictures, evaluator.batch_size))
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
            yield keys, evaluator.logits(inputs)
