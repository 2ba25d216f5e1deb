"""How far apart the two perturbation curves of an image lie, for several methods on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Literal

import numpy as np

from explainers import Explanation, Fitted
from pipeline.config_sections import PerturbationConfig
from pipeline.inputs.batches import Batch
from pipeline.measure.batching import explain_inputs
from pipeline.measure.bench import Bench
from pipeline.measure.choice_images import rows_of
from pipeline.measure.curves import Perturber
from pipeline.measure.entrant import Entrant
from pipeline.measure.evaluate import Evaluator
from pipeline.terms import CurveOrder

ACROSS = 8  # regions of a picture's side
STEPS = 10  # of the 64 regions are replaced, by noise, one after the other: 16 % of the picture
METRIC = "aopc_gap"
AT_ONCE = 8  # images that are explained together: as many as the first look is at
BY: Mapping[str, Literal["absolute", "signed", "positive"]] = {
    "abs_sum": "absolute",
    "sum": "signed",
    "positive": "positive",
}  # pooling of the audit -> regions are ordered by the very map that the audit measures


class Gaps:
    """The gaps of ``images``: maps, a few at once, kept; curves once, in few steps."""

    def __init__(self, bench: Bench, images: Batch) -> None:
        self._bench, self._images = bench, images
        card, batch_size = bench.model.card, bench.config.execution.batch_size
        self._size = min(AT_ONCE, batch_size)
        self._evaluator = Evaluator(bench.model.model, batch_size)
        config = PerturbationConfig(
            orders=(CurveOrder.MORF, CurveOrder.LERF),
            region=max(1, -(-min(card.height, card.width) // ACROSS)),
            steps=STEPS,
            repeats=1,
            by=BY[bench.config.audit.pooling],
        )
        self._perturber = Perturber(self._evaluator, card, config, bench.config.audit.seed)
        self._maps: dict[tuple[int, int], Explanation] = {}

    @property
    def passes(self) -> int:
        """Pictures evaluated for the curves so far."""
        return self._evaluator.passes

    def explained(self, fitted: Fitted, rows: range) -> Explanation:
        """Maps of some images that follow one another, of the class that the audit explains."""
        first, last = rows[0] // self._size, rows[-1] // self._size
        parts = [self._batch(fitted, number) for number in range(first, last + 1)]
        start = first * self._size
        cut = slice(rows[0] - start, rows[-1] + 1 - start)
        return Explanation(
            np.concatenate([e.relevance for e in parts])[cut],
            np.concatenate([e.output for e in parts])[cut],
            np.concatenate([e.target for e in parts])[cut],
            tuple(reason for e in parts for reason in e.reason)[cut],
        )

    def _batch(self, fitted: Fitted, number: int) -> Explanation:
        key = id(fitted), number
        if key not in self._maps:
            here = slice(number * self._size, (number + 1) * self._size)
            target = None
            if self._bench.config.audit.target == "label":
                target = self._images.labels[here].clip(0)
            inputs = self._images.inputs[here]
            (self._maps[key],) = explain_inputs(self._bench, inputs, target, [fitted], self._size)
        return self._maps[key]

    def measure(self, entrants: Sequence[Entrant], rows: range) -> None:
        """Add the gaps of these images to those of each candidate: drop in MoRF order minus that in LeRF."""
        maps = []
        for entrant in entrants:
            assert entrant.tried is not None
            with entrant.timed():
                maps.append(self.explained(entrant.tried, rows))
        block, keys = rows_of(self._images, rows), [entrant.key for entrant in entrants]
        with ExitStack() as clocks:
            for entrant in entrants:
                clocks.enter_context(entrant.timed(len(entrants)))
            scores = self._perturber.tables(block, maps, keys)["scores"].to_pylist()
        gaps = {(r["method"], r["example_id"]): r["value"] for r in scores if r["metric"] == METRIC}
        for entrant in entrants:
            ids = [record.example_id for record in block.records if record is not None]
            entrant.gaps += [float(gaps[entrant.key, name] or 0) for name in ids]
