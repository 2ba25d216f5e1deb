"""One method on one network taken apart in several ways: how far the maps differ, and which is better.

The function stays the same, the nodes that relevance crosses do not (:mod:`explainers.model.decomposition`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from explainers import Explanation, Fitted
from explainers.decompositions import Variant, decompositions
from pipeline.config import Config
from pipeline.config_sections import MethodConfig, PerturbationConfig
from pipeline.inputs.batches import Batch
from pipeline.inputs.models import LoadedModel
from pipeline.measure.curves import Perturber
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.explain import first, joined, pieces
from pipeline.measure.fitting import create
from pipeline.measure.metrics import channel_sum, measure
from pipeline.terms import CurveOrder

ACROSS, STEPS = 8, 10  # regions of a picture's side, and how many of all are replaced for a curve
GAP = "aopc_gap"
COLUMNS = (
    "example_id", "decomposition", "rank_correlation", "relative_l2", "gap", "lift", "conservation_error",
    "absorbed", "ledger_gap", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """Ways in which a network was taken apart, and what became of the maps of some images.

    Attributes:
        variants: all of them, those that change nothing included; maps: of each that has some, by name.
        images: a row per image and variant that has maps: ``example_id``, ``decomposition``,
            ``rank_correlation`` (Spearman's of the maps summed over channels) and ``relative_l2`` against
            the first variant, ``gap`` (drop of the class's probability in MoRF order minus that in LeRF
            order; Samek et al. 2017), ``lift`` on the boxes, ``conservation_error`` (relevance at the input
            less that at the output, relative to the latter), of it ``absorbed`` by biases, and
            ``ledger_gap``, what the accounts of no node explain. Undefined is nan; ``reason`` says why a
            map is.
    """

    variants: tuple[Variant, ...]
    maps: dict[str, Explanation]
    images: pd.DataFrame

    @property
    def table(self) -> pd.DataFrame:
        """A row per variant: medians over the images that have a value, and why one has none."""
        medians = self.images.drop(columns=["example_id", "reason"]).groupby("decomposition").median()
        names = [variant.name for variant in self.variants]
        defined = self.images[self.images["reason"].isna()].groupby("decomposition").size()
        table = medians.reindex(names)
        table.insert(0, "images", defined.reindex(names).fillna(0).astype(int))
        table["remark"] = [variant.reason for variant in self.variants]
        return table.reset_index()


def compare(
    model: LoadedModel, method: MethodConfig, images: Batch, targets: np.ndarray, with_curves: bool = True
) -> Compared:
    """The maps of every decomposition for ``targets``, an output per image, measured on the same images.

    ``images``: readable ones only; ``with_curves``: measure the gap, which is most of the passes.

    Raises:
        ExplainError: the method cannot explain the network, or is not one by rules.
    """
    variants = decompositions(create(method, model.card), model.model)
    made = {v.name: _explained(v.fitted, images.inputs, targets) for v in variants if v.fitted is not None}
    maps = {name: explained for name, (explained, _) in made.items()}
    own = maps[variants[0].name]
    parts = [
        _measured(images, explained, own).join(balance).assign(decomposition=name)
        for name, (explained, balance) in made.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    table["gap"] = gaps(model, images, maps) if with_curves else np.nan
    return Compared(variants, maps, table[list(COLUMNS)])


def _explained(fitted: Fitted, inputs: np.ndarray, targets: np.ndarray) -> tuple[Explanation, pd.DataFrame]:
    """The maps, and per image what became of the relevance at the output."""
    parts, balances = [], []
    output = fitted.network.graph.output
    for rows, count in pieces(len(inputs)):
        made = fitted.analyze(inputs[rows], targets[rows], ledger=True)
        balances.append(_balance(made, output).iloc[:count])
        parts.append(first(made, count))
    return joined(parts), pd.concat(balances, ignore_index=True)


def _balance(made: Explanation, output: str) -> pd.DataFrame:
    """Relative to the relevance at ``output``: what does not arrive, what biases took; the largest gap."""
    ledger = made.ledger
    assert ledger is not None
    begin = ledger.received[ledger.nodes.index(output)].astype(np.float64)
    begin = np.where([reason is None for reason in made.reason], begin, np.nan)
    arrived = made.relevance.reshape(len(begin), -1).sum(axis=1, dtype=np.float64)
    return pd.DataFrame(
        {
            "conservation_error": np.abs(arrived - begin) / np.abs(begin),
            "absorbed": ledger.absorbed.sum(axis=0, dtype=np.float64) / begin,
            "ledger_gap": ledger.gap.max(axis=0) + 0 * begin,
        }
    )


def _measured(images: Batch, maps: Explanation, own: Explanation) -> pd.DataFrame:
    """Per image how far a map is from the method's own, and where it lies."""
    blocked = list(zip(images.status, maps.reason, strict=True))
    lift = measure(maps.relevance, images.masks, blocked, ["lift"], "abs_sum").value[:, 0]
    both = [a is None and b is None for a, b in zip(maps.reason, own.reason, strict=True)]
    pairs = list(zip(maps.relevance.astype(np.float64), own.relevance.astype(np.float64), strict=True))
    return pd.DataFrame(
        {
            "example_id": [record.example_id for record in images.records if record is not None],
            "rank_correlation": [
                _rank_correlation(*p) if b else np.nan for p, b in zip(pairs, both, strict=True)
            ],
            "relative_l2": [
                np.linalg.norm(a - b) / np.linalg.norm(b) if defined else np.nan
                for (a, b), defined in zip(pairs, both, strict=True)
            ],
            "lift": lift,
            "reason": maps.reason,
        }
    )


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's of two maps h w c, summed over channels; nan where one of them is constant."""
    first, second = (channel_sum(relevance).ravel() for relevance in (a, b))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def gaps(model: LoadedModel, images: Batch, maps: dict[str, Explanation]) -> list[float]:
    """Of each decomposition and image, in this order: drop in MoRF order minus that in LeRF order."""
    card = model.card
    config = PerturbationConfig(
        orders=(CurveOrder.MORF, CurveOrder.LERF),
        region=max(1, -(-min(card.height, card.width) // ACROSS)),
        steps=STEPS,
        repeats=1,
        by="absolute",
    )
    evaluator = Evaluator(model.model, Config().execution.batch_size)
    perturber = Perturber(evaluator, card, config, seed=0)
    table = perturber.tables(images, list(maps.values()), list(maps))["scores"].to_pandas()
    drawn = table[table["metric"] == GAP].set_index(["method", "example_id"])["value"].astype(float)
    ids = [record.example_id for record in images.records if record is not None]
    return [float(drawn.loc[name, example]) for name in maps for example in ids]
