"""``--method auto``: which method explains this network, chosen on a few images before the audit.

A short list of candidates, in the order in which an auditor wants them: how well a ranking of classes by
their maps finds marks that networks use (docs/methods.md). A candidate passes when it fits the network, its
maps depend on the weights and on the class (:mod:`pipeline.measure.sanity`), and its perturbation curves
show that it orders regions as the network does (Samek et al. 2017): what it calls relevant matters more. The
first that passes and is not far behind the best is used (:mod:`pipeline.measure.contest`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from explainers.errors import ExplainError
from pipeline.config import parse_method
from pipeline.errors import InputError
from pipeline.measure.bench import Bench
from pipeline.measure.choice_images import draw, rows_of
from pipeline.measure.contest import LEAST, SHARE, Contest, contest
from pipeline.measure.entrant import Entrant
from pipeline.measure.fitting import fit_methods, reference_batches
from pipeline.measure.gaps import Gaps
from pipeline.measure.sanity import STAGES, Copies, check_methods, line_of
from pipeline.run.documents import ChoiceDocument

# who comes first is wanted most; the second list is for networks that nobody of the first suits: these fit
# every network, and cost some 65 forward passes per image instead of 2 to 5
CANDIDATES = (
    ("lrp.epsilon_gamma_box", "lrp.preset_a", "gradcam", "lrp.preset_b_flat"),
    ("integrated_gradients", "smoothgrad"),
)
BLOCKS = (8, 16)  # images after which it is looked whether more are needed; the last look is at all of them
CHECKED = 8  # images of the sanity checks
DECISIVE = "all layers"  # the stage of shuffled weights that the limit is for


def choose(bench: Bench) -> Bench:
    """The bench with one method, chosen for it, and how that went (:attr:`Bench.choice`).

    The same bench chooses the same method however the work is spread. The chosen one is not fitted again.

    Raises:
        InputError: no image can be read, or no candidate can explain the network.
    """
    began = time.perf_counter()
    trial = Trial(bench)
    winner = None
    for names in CANDIDATES:
        winner = trial.race(trial.enter(names))
        if winner or any(entrant.is_open for entrant in trial.entrants):
            break
    passed = winner is not None
    winner = winner or trial.fallback()
    trial.complete(winner)
    document = ChoiceDocument(
        method=winner.key,
        passed=passed and bool(winner.sane),
        candidates=tuple(entrant.row() for entrant in trial.entrants),
        images=len(trial.images),
        looks=len(trial.ends),
        share=SHARE,
        passes=trial.gaps.passes,
        seconds=round(time.perf_counter() - began, 2),
    )
    config = bench.config.model_copy(update={"methods": (winner.config,)})
    assert winner.fitted is not None
    return replace(bench, config=config, methods={winner.key: winner.fitted}, choice=document)


class Trial:
    """Candidates of one bench on the same images.

    Attributes:
        entrants: everybody who entered; ends: numbers of images at which it is looked.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.images = draw(bench.dataset, bench.model.card, bench.config.audit.seed)
        self.ends = (*(end for end in BLOCKS if end < len(self.images)), len(self.images))
        self.gaps = Gaps(bench, self.images)
        self.entrants: list[Entrant] = []
        self._copies = Copies(bench.model.model, bench.config.audit.seed)

    def enter(self, names: Sequence[str]) -> list[Entrant]:
        """Fit candidates, named as on the command line, and check their sanity."""
        entrants = [Entrant(parse_method(name)) for name in names]
        self.entrants += entrants
        for entrant in entrants:
            with entrant.timed():
                self._fit(entrant)
                self._check(entrant, {DECISIVE: STAGES[DECISIVE]})
        return entrants

    def _fit(self, entrant: Entrant) -> None:
        dataset, model = self.bench.dataset, self.bench.model
        try:
            fitted = fit_methods([entrant.config], model, lambda: reference_batches(dataset, model.card))
            (tried,) = self._copies.shared(fitted)
            self.gaps.explained(tried, range(1))
        except (ExplainError, InputError) as error:
            entrant.reason = f"cannot explain this network: {line_of(error)}"
        else:
            entrant.fitted, entrant.tried = fitted[entrant.key], tried

    def _check(self, entrant: Entrant, stages: Mapping[str, float]) -> None:
        """Compare a candidate's maps with those of another class and of shuffled weights."""
        if entrant.tried is None:
            return
        config = self.bench.config.model_copy(update={"methods": (entrant.config,)})
        alone = replace(self.bench, config=config, methods={entrant.key: entrant.tried})
        part = rows_of(self.images, range(min(CHECKED, len(self.images))))
        try:
            checked, failed = check_methods(alone, part.inputs, part.valid, stages, self._copies)
        except Exception as error:  # a copy of the network that fails says nothing against the method
            checked, failed = [], {entrant.key: line_of(error)}
        entrant.checked(checked[0] if checked else None, failed.get(entrant.key, ""))

    def complete(self, entrant: Entrant) -> None:
        """The stages of the sanity checks that only the chosen one gets."""
        with entrant.timed():
            if entrant.sanity is not None:
                self._check(entrant, {name: share for name, share in STAGES.items() if name != DECISIVE})

    def race(self, entrants: Sequence[Entrant]) -> Entrant | None:
        """Measure gaps, block by block, until it is decided who is used; None: nobody passes."""
        running = [entrant for entrant in entrants if entrant.fitted is not None]
        measured, winner = 0, None
        for end in self.ends:
            if not running:
                break
            self.gaps.measure(running, range(measured, end))
            measured = end
            state = self._standing(running)
            winner = None if state.first is None else running[state.first]
            if state.decided:
                break
            running = [entrant for entrant in running if entrant.runs]
        if winner is not None:
            winner.reason = "used: the first in the order that passes and is not far behind"
        return winner

    def _standing(self, running: Sequence[Entrant]) -> Contest:
        """Where they stand now, told to each of them."""
        eligible = _eligible(running)
        values = np.array([entrant.gaps for entrant in running], np.float64).T
        state = contest(values, len(self.ends), eligible)
        best = None if state.best is None else running[state.best].key
        for j, entrant in enumerate(running):
            entrant.measured(state, j, eligible[j], best)
        return state

    def fallback(self) -> Entrant:
        """Who is used although nobody passes: the largest gap, of those whose maps depend on the network if
        there are any; of too few images for that, the first of them.

        Raises:
            InputError: nobody can explain the network.
        """
        fitting = [entrant for entrant in self.entrants if entrant.fitted is not None]
        if not fitting:
            told = "; ".join(f"{entrant.key}: {entrant.reason}" for entrant in self.entrants)
            raise InputError(
                f"method auto: no candidate can explain this network ({told}); name a method with --method"
            )
        sane = [entrant for entrant in fitting if entrant.sane] or fitting
        few = len(self.images) < LEAST
        winner = sane[0] if few else max(sane, key=lambda entrant: float(np.mean(entrant.gaps)))
        winner.reason = f"used, although none passes: {winner.reason}"
        return winner


def _eligible(running: Sequence[Entrant]) -> list[bool]:
    """Whose maps depend on the network; where no copy of the network can be made, nobody's are known to."""
    if any(entrant.sane for entrant in running):
        return [bool(entrant.sane) for entrant in running]
    return [entrant.sane is None for entrant in running]
