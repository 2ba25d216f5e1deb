"""Does a method look at the network at all? Sanity checks on a small seeded sample of every run.

Adebayo et al. 2018, "Sanity checks for saliency maps" (cascading randomisation of the weights from the output
down), Sixt et al. 2020, "When explanations lie" (random logit). A map that stays the same when the network's
knowledge is destroyed shows the picture, not the network; one that stays the same when another class is
explained cannot tell classes apart.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np
from scipy.stats import rankdata
from skimage.metrics import structural_similarity

from explainers import Explanation, Fitted
from explainers.errors import ExplainError
from explainers.kindred import Kindred
from pipeline.errors import InputError
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.picked import Picked
from pipeline.measure.batching import explain_inputs
from pipeline.measure.bench import Bench
from pipeline.measure.fitting import fit_methods, reference_batches
from pipeline.measure.metrics import pool
from pipeline.run.documents import ChoiceDocument, MethodSanity, SanityDocument
from pipeline.run.store import Store
from pipeline.seeds import Purpose

# share of the layers with weights, counted from the output, whose weights are shuffled
STAGES = {"output layer": 0.0, "upper half": 0.5, "all layers": 1.0}
# median rank correlation with the original map, all weights shuffled, from which on it is said
INSENSITIVE = 0.7
CLASS_BLIND = 0.95  # the same when another class is explained


def check_run(run: Store, bench: Bench) -> SanityDocument | None:
    """Check the methods of a run and write what came out into it, unless it is there already.

    ``sanity.images`` of the configuration are compared, but no more than one in 200 of the dataset's (at
    least 4): the check stays a small part of the run. Returns what is stored; None where 0 are asked for.
    A method that was chosen by default was checked then, and is not checked again.
    """
    if (stored := SanityDocument.read(run)) is not None:
        return stored
    document = _checked_before(run) or _checked_now(bench)
    if document is not None:
        document.write(run)
    return document


def _checked_now(bench: Bench) -> SanityDocument | None:
    asked = bench.config.sanity.images
    if asked == 0:
        return None
    started = time.perf_counter()
    images = images_checked(asked, bench.dataset.info.n_examples)
    try:
        checked, failed = check_methods(bench, *_sample(bench, images))
    except Exception as error:  # the maps are made and the ranking stands, whatever goes wrong here
        checked, failed = [], dict.fromkeys(bench.methods, line_of(error))
    return _document(checked, failed, time.perf_counter() - started)


def _checked_before(run: Store) -> SanityDocument | None:
    """What the choice of the method says; None where the method was named."""
    choice = ChoiceDocument.read(run)
    if choice is None:
        return None
    sanity = choice.chosen.sanity
    if sanity is None:
        return _document([], {choice.method: choice.chosen.verdict}, 0.0)
    return _document([replace(sanity, unproven=not choice.passed and not sanity.failures)], {}, 0.0)


def _document(checked: Sequence[MethodSanity], failed: Mapping[str, str], seconds: float) -> SanityDocument:
    return SanityDocument(
        images=max((m.images for m in checked), default=0),
        seconds=round(seconds, 2),
        limits={"insensitive": INSENSITIVE, "class_blind": CLASS_BLIND},
        methods=tuple(checked),
        unchecked=dict(failed) or None,
    )


def images_checked(asked: int, of: int) -> int:
    """How many images of a dataset of ``of`` are compared."""
    return min(asked, max(4, of // 200), of)


class Copies:
    """Shuffled copies of one network, each made and traced once for all methods that are checked on the same
    images; what is compiled for a method serves the network and its copies."""

    def __init__(self, model: keras.Model, seed: int) -> None:
        self._model, self._seed = model, seed
        self._made: dict[float, keras.Model] = {}
        self._bound: list[Fitted] = []  # a network lives as long as something is bound to it
        self._kindred: dict[tuple[str, ...], Kindred] = {}
        self._originals: dict[tuple[str, ...], tuple[list[Explanation], list[Explanation]]] = {}

    def __call__(self, share: float) -> keras.Model:
        """The copy whose upper ``share`` is shuffled."""
        if share not in self._made:
            self._made[share] = shuffled(self._model, share, self._seed)
        return self._made[share]

    def keep(self, fitted: Mapping[str, Fitted]) -> None:
        """Keep the copies' networks for the next method."""
        self._bound += fitted.values()

    def shared(self, fitted: Mapping[str, Fitted]) -> list[Fitted]:
        """Methods fitted to the network first, then to its copies, by programs that they share."""
        kindred = self._kindred.setdefault(tuple(fitted), Kindred(list(fitted.values())))
        return kindred.of(list(fitted.values()))

    def originals(self, bench: Bench, x: np.ndarray) -> tuple[list[Explanation], list[Explanation]]:
        """Maps of the images by the methods of the bench and the network as it is: of the predicted class and
        of another one. A method that is checked further has them already."""
        key = tuple(bench.methods)
        if key not in self._originals:
            fitted = self.shared(bench.methods)
            before = explain_inputs(bench, x, None, fitted, len(x))
            target, classes = before[0].target, before[0].output.shape[1]
            rng = Purpose.SANITY_TARGETS.rng(self._seed)
            others = (target + rng.integers(1, max(classes, 2), len(target))) % classes
            self._originals[key] = before, explain_inputs(bench, x, others, fitted, len(x))
        return self._originals[key]


def check_methods(
    bench: Bench,
    x: np.ndarray,
    keep: np.ndarray,
    stages: Mapping[str, float] = STAGES,
    copies: Copies | None = None,
) -> tuple[list[MethodSanity], dict[str, str]]:
    """Compare maps of the inputs ``x`` (n, h, w, c) before and after, on those that are images: ``keep``.

    ``stages``: shares of the network to shuffle, by name; without "all layers" nothing is called insensitive.
    The second result says of the other methods why they could not be checked.
    """
    copies = copies or Copies(bench.model.model, bench.config.audit.seed)
    before, swapped = copies.originals(bench, x)
    target = before[0].target
    after = {name: _explain_shuffled(bench, copies, share, x, target) for name, share in stages.items()}
    results, failed = [], {}
    for i, method in enumerate(bench.methods):
        maps = {name: explained[method] for name, explained in after.items()}
        errors = [e for e in maps.values() if isinstance(e, Exception)]
        if errors:
            failed[method] = line_of(errors[0])
            continue
        alike = {n: similarity(before[i], e, keep) for n, e in maps.items() if isinstance(e, Explanation)}
        results.append(_judged(method, alike, similarity(before[i], swapped[i], keep)))
    return results, failed


Similarity = tuple[float | None, float | None, int]


def _judged(method: str, stages: Mapping[str, Similarity], other: Similarity) -> MethodSanity:
    return MethodSanity(
        method=method,
        randomised={name: (rho, ssim) for name, (rho, ssim, _) in stages.items()},
        other_class=other[:2],
        insensitive="all layers" in stages and (stages["all layers"][0] or 0) >= INSENSITIVE,
        class_blind=(other[0] or 0) >= CLASS_BLIND,
        images=min(n for _, _, n in (*stages.values(), other)),
    )


def line_of(error: Exception) -> str:
    """The first line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def similarity(a: Explanation, b: Explanation, keep: np.ndarray) -> Similarity:
    """Median (rank correlation, SSIM) over the images ``keep`` whose maps are both defined; their number.

    Both on the absolute relevance summed over channels; for SSIM each map is scaled to a maximum of 1. None
    where no image has both maps.
    """
    maps = zip(pool(a.relevance, "abs_sum"), pool(b.relevance, "abs_sum"), strict=True)
    pairs = [(p, q) for i, (p, q) in enumerate(maps) if keep[i] and _fit(p) and _fit(q)]
    if not pairs:
        return None, None, 0
    rho = [_rank_correlation(p, q) for p, q in pairs]
    ssim = [structural_similarity(p / p.max(), q / q.max(), data_range=1.0) for p, q in pairs]
    return float(np.median(rho)), float(np.median(ssim)), len(pairs)


def _fit(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and values.any())


def _rank_correlation(p: np.ndarray, q: np.ndarray) -> float:
    """Spearman's; of constant maps 1 where both are (nothing changed), else 0."""
    flat = (np.ptp(p) == 0, np.ptp(q) == 0)
    if any(flat):
        return float(all(flat))
    return float(np.corrcoef(rankdata(p), rankdata(q))[0, 1])


def shuffled(model: keras.Model, share: float, seed: int) -> keras.Model:
    """A copy whose upper ``share`` of layers with weights (at least the last one) has its weights shuffled.

    Every array is permuted: its values, and so the scale of the activations, stay; what was learnt is gone.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    layers = [layer for layer in _leaves(copy) if layer.weights]
    for layer in layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # its mean and variance, which were set as weights
    learnt = [layer for layer in layers if not isinstance(layer, keras.layers.Normalization)]
    rng = Purpose.SHUFFLED_WEIGHTS.rng(seed)
    for layer in learnt[::-1][: max(1, round(share * len(learnt)))]:
        layer.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in layer.get_weights()])
    return copy


def _leaves(model: keras.Model) -> Sequence[keras.Layer]:
    """The layers in order, nested models opened."""
    return [
        leaf
        for layer in model.layers
        for leaf in (_leaves(layer) if isinstance(layer, keras.Model) else [layer])
    ]


def _explain_shuffled(
    bench: Bench, copies: Copies, share: float, x: np.ndarray, target: np.ndarray
) -> dict[str, Explanation | Exception]:
    """Per method its maps for the shuffled network, or why there are none."""
    card = bench.model.card
    changed = replace(bench.model, model=copies(share))
    fitted: dict[str, Fitted] = {}
    failed: dict[str, Exception] = {}
    for method in bench.config.methods:
        try:
            fitted |= fit_methods([method], changed, lambda: reference_batches(bench.dataset, card))
        except (ExplainError, InputError) as error:
            failed[method.key] = error
    copies.keep(fitted)
    maps = explain_inputs(bench, x, target, copies.shared(fitted), len(x))
    return failed | dict(zip(fitted, maps, strict=True))


def _sample(bench: Bench, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of a seeded choice from the whole split, and which rows are images."""
    n = bench.dataset.info.n_examples
    rng = Purpose.SANITY_SAMPLE.rng(bench.config.audit.seed)
    chosen = sorted(rng.permutation(n)[: min(images, n)].tolist())
    picked = Picked(bench.dataset, tuple(chosen))
    batch = next(iter_batches(picked, picked.shard, bench.model.card, len(chosen)))
    return batch.inputs, batch.valid
