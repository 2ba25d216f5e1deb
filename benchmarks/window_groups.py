"""On what share of a class's images is the mark that its network uses, and what do its windows say?

    python -m benchmarks.window_groups --archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras \
        --cache FOLDER --runs RUN-of-seed-0 RUN-of-seed-1 RUN-of-seed-2 [--seeds 0 1 2]

Runs as `benchmarks.transfer` makes them, of the networks of `benchmarks.real_networks`. Of each class whose
mark is used, and of which 5 windows were pasted: the share of these images that carry the mark, the share
that its group of windows has, whether the interval holds the true one, and the F1 score of the group's
images against those that carry it. How alike windows of a kind must be was chosen on
seed 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.real_marks import deal_marks, mark_all
from benchmarks.real_networks import Inputs, arguments, inputs_of, usage
from benchmarks.real_runs import markdown

FEWEST = 5  # windows of a class


def carrying(inputs: Inputs, seed: int) -> Mapping[str, bool]:
    """Name of a validation photograph -> whether it carries the mark of its class."""
    photos = inputs.photos("val")
    carries = mark_all(photos, deal_marks(len(photos.class_ids), seed), seed)
    return {Path(name).stem: bool(it) for name, it in zip(photos.names, carries, strict=True)}


def compared(run: Path, carries: Mapping[str, bool], used: Iterable[int]) -> list[tuple[float, ...]]:
    """Per class with a used mark: true share, said share, in the interval, F1; nan where no group is said."""
    from pipeline.run.store import Store
    from pipeline.run.transfer_parts import read_transfer
    from pipeline.statistics.pasted import read_pasted
    from pipeline.statistics.ranking import rank

    ranking = rank(run)
    table = read_transfer(Store(run))
    assert table is not None
    pasted = read_pasted(table, ranking.method)
    rows = []
    for label in used:
        if label not in pasted or pasted[label].n < FEWEST:
            continue
        marked = {i for i in pasted[label].example_id if carries[Path(i).stem]}
        true, group = len(marked) / pasted[label].n, ranking.carried[label].group
        if group is None:
            rows.append((true, np.nan, np.nan, np.nan))
            continue
        inside = group.share_low <= true <= group.share_high
        f1 = 2 * len(marked & set(group.ids)) / (len(marked) + group.n)
        rows.append((true, group.share, float(inside), f1))
    return rows


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    options = parser.parse_args()
    inputs, shown = inputs_of(options), []
    for seed, run in zip(options.seeds, options.runs, strict=True):
        used = usage(inputs, inputs.trained(seed, marked=True), seed).used
        true, said, inside, f1 = np.array(compared(run, carrying(inputs, seed), used)).T
        shown.append(
            [
                f"marked-{seed}",
                f"{np.isfinite(said).sum()} of {len(said)}",
                f"{true.mean():.2f}, {np.nanmean(said):.2f}",
                f"{np.nanmean(np.abs(said - true)):.2f}",
                f"{np.nansum(inside):.0f}",
                f"{np.nanmean(f1):.2f}",
            ]
        )
    head = [
        "network",
        "classes with a group",
        "share: true, said",
        "mean difference",
        "in the interval",
        "F1",
    ]
    print(markdown(head, shown))


if __name__ == "__main__":
    main()
