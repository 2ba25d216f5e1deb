"""The evidence about every class of a run: adjusted lift, interval, both tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.config_sections import RankingConfig
from pipeline.run.images import Images
from pipeline.run.store import Store
from pipeline.statistics.absolute import Absolute, Used, absolute_test
from pipeline.statistics.adjust import Adjusted
from pipeline.statistics.arrays import Floats, Ints
from pipeline.statistics.relative import Relative, compare
from pipeline.statistics.resampling import lower_parts


@dataclass(frozen=True)
class ClassEvidence:
    """The statistics of the classes that have ranked images; arrays (C,) in order of the label.

    Without a second class there is nothing to compare with: ``relative`` is nan and ``adjusted`` None.
    """

    label: Ints
    n: Ints
    area: Floats  # of every ranked image
    relative: Relative
    adjusted: Adjusted | None
    absolute: Absolute | None
    images: pd.DataFrame

    def lower_lifts(self) -> Floats:
        """Mean of the lowest quarter of every class's adjusted lifts (C,)."""
        bounds = np.concatenate([[0], np.cumsum(self.n)]).astype(np.int64)
        return lower_parts(self.images["adjusted_lift"].to_numpy(), bounds)

    @classmethod
    def of(cls, images: Images, rows: Ints, store: Store, config: RankingConfig) -> ClassEvidence:
        """Adjust and test the images at ``rows`` (sorted by label)."""
        label, first, n = np.unique(images.label[rows], return_index=True, return_counts=True)
        bounds = np.concatenate([first, [len(rows)]]).astype(np.int64)
        lift = images.scores["lift"][rows]
        area, distance = images.area[rows].astype(float), images.distance[rows].astype(float)
        used = Used(images.index[rows], np.repeat(np.arange(len(label)), n), area, len(label))
        absolute = absolute_test(store, images.method, used, config)
        frame = pd.DataFrame({"index": used.index, "label": images.label[rows], "lift": lift})
        if len(label) < 2:
            frame = frame.assign(expected=np.nan, adjusted_lift=np.nan)
            return cls(label, n, area, Relative.undefined(len(label)), None, absolute, frame)
        adjusted, relative = compare(lift, area, distance, bounds, config)
        frame = frame.assign(expected=lift - adjusted.residual, adjusted_lift=adjusted.residual)
        return cls(label, n, area, relative, adjusted, absolute, frame)
