"""The canary: what this set-up would find, and what it would miss, measured by planting marks.

Networks are trained on data with planted marks, audited, and their classes confirmed by intervention: on
drawn pictures (:mod:`.planted_canary`), or on photographs (:mod:`.photo_trials`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.canary.grid import Grid
from pipeline.canary.photo_canary import plan_photos
from pipeline.canary.photo_trials import PhotoSource, run_photo_trials
from pipeline.canary.photos import Choice
from pipeline.canary.planted_canary import plan_networks, run_planted_trials
from pipeline.canary.summary import summarise_trials
from pipeline.run.documents import CanaryDocument, TrialDocument
from pipeline.run.folder import RunFolder


@dataclass(frozen=True)
class Campaign:
    """What is planted, trained and audited.

    Attributes:
        networks: how many are trained, a clean one first; method: whose maps are audited.
        photos: photographs are marked, at most ``images`` of a super-class; None: pictures are drawn.
    """

    grid: Grid
    networks: int
    method: str
    seed: int = 0
    photos: PhotoSource | None = None
    images: int = 60


def run_campaign(
    campaign: Campaign, folder: Path, on_trial: Callable[[int, TrialDocument], None]
) -> CanaryDocument:
    """Run what is missing of ``campaign`` below ``folder``; returns the summary, which lies there then.

    ``on_trial`` is called with the number and the result of every trial, finished ones included.

    Raises:
        InputError: a mark, the photographs or the model cannot be used.
    """
    grid, networks, method = campaign.grid, campaign.networks, campaign.method
    if campaign.photos is None:
        trials = run_planted_trials(plan_networks(grid, networks, campaign.seed), folder, method, on_trial)
        about = f"{method}, {networks} planted networks"
    else:
        specs = plan_photos(grid, networks, Choice(max(grid.sizes), campaign.images, campaign.seed))
        trials = run_photo_trials(specs, campaign.photos, folder, method, on_trial)
        network = Path(campaign.photos.model.source).stem
        about = f"{method}, {networks} linear heads on {network}, real photographs"
    summary = summarise_trials(trials, about)
    summary.write(RunFolder(folder))
    return summary
