"""Do lists of classes that people marked agree with a run? ``python -m benchmarks.human_lists``.

    python -m benchmarks.human_lists --list FILE RUN [RUN ...] [--out FOLDER]

``--list``: your copy of the classes that people marked, such as `spurious_components.npy` of Neuhaus et al.
2023 (arXiv:2212.04871), who looked at the components of one robust ResNet-50. Classes are ImageNet's, by
number (0 to 999, sorted by synset) or by synset; a text file has one per line (what follows a comma or a
space is not read), a `.npy` file holds numbers. The file as it is distributed holds a pickled object, and
reading that would run whatever is in it: it is refused, with the line that turns it into text.

For every finished run over ImageNet's classes, or some of them: AUC with which each order tells the listed
classes from the others, with a 95 % interval (Hanley and McNeil 1982). A comparison, never tuned on: the
people saw another network, and what is wrong with ImageNet's pictures need not be used by this one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.output import publish, versions
from benchmarks.real_runs import auc, markdown

CLASSES = 1000
Z = 1.96
# order -> column, and whether high values accuse
ORDERS = {
    "small box": ("box_area", False),
    "ratio": ("ratio", False),
    "low accuracy": ("accuracy", False),
    "adjusted lift": ("adjusted_lift_raw", False),
    "interventions": ("effect_shrunk", True),
    "transfer": ("transfer", True),
    "maps and windows": ("evidence", True),
}


def read_list(path: Path) -> frozenset[str]:
    """The synsets of the classes that a file lists.

    Raises:
        InputError: it cannot be read without unpickling, or names what is no class of ImageNet.
    """
    from pipeline.errors import InputError
    from pipeline.inputs.datasets.ilsvrc2012 import imagenet_classes

    if not path.is_file():
        raise InputError(f"{path}: no such file; give your copy of the list")
    ids = imagenet_classes()[0]
    words = _numbers(path) if path.suffix == ".npy" else _words(path)
    listed = [ids[int(word)] if word.isdecimal() and int(word) < CLASSES else word for word in words]
    unknown = sorted(set(listed) - set(ids))
    if unknown or not listed:
        raise InputError(
            f"{path}: {f'{unknown[0]!r} is' if unknown else 'it holds'} no class of ImageNet; "
            "valid are numbers from 0 to 999 and synsets such as n01440764, one per line"
        )
    return frozenset(listed)


def _numbers(path: Path) -> list[str]:
    from pipeline.errors import InputError

    try:
        values = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise InputError(
            f"{path}: a pickled object, not numbers; reading it would run what is in it. If you trust it, "
            "write its keys as text, and give that: python -c \"import numpy; print(*numpy.load('FILE', "
            "allow_pickle=True)[()], sep='\\n')\" > list.txt"
        ) from error
    return [str(int(value)) if float(value).is_integer() else str(value) for value in np.ravel(values)]


def _words(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.replace(",", " ").split()[0] for line in lines if line.replace(",", " ").strip()]


def agreement(table: pd.DataFrame, listed: frozenset[str]) -> dict[str, tuple[float, float, int]]:
    """Order -> AUC for the ``listed`` classes, its standard error, and the classes that have a value.

    ``table``: the classes of a run, ``class_id`` their synset.
    """
    truth = table["class_id"].isin(listed).to_numpy()
    told = {}
    for name, (column, high) in ORDERS.items():
        values = table[column].to_numpy(float) * (1 if high else -1)
        good = np.isfinite(values)
        area = auc(values, truth)
        told[name] = (
            area,
            standard_error(area, int(truth[good].sum()), int((~truth[good]).sum())),
            int(good.sum()),
        )
    return told


def standard_error(area: float, positive: int, negative: int) -> float:
    """Of an AUC of so many positive and negative cases (Hanley and McNeil 1982); nan without either."""
    if not positive or not negative:
        return float("nan")
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positive - 1) * (q1 - area**2) + (negative - 1) * (q2 - area**2)
    return float(np.sqrt(variance / (positive * negative)))


def shown(name: str, table: pd.DataFrame, listed: frozenset[str]) -> list[list[object]]:
    """Rows of the table of one run."""
    hits = int(table["class_id"].isin(listed).sum())
    rows = []
    for order, (area, error, n) in agreement(table, listed).items():
        interval = f"[{max(0.0, area - Z * error):.2f}, {min(1.0, area + Z * error):.2f}]"
        rows.append(
            [name, f"{hits} of {len(table)}", order, n, "-" if np.isnan(area) else f"{area:.2f} {interval}"]
        )
    return rows


def ranking_of(run: Path) -> pd.DataFrame:
    """The classes of a finished run, as it was ranked. Raises :class:`InputError`."""
    from pipeline.errors import InputError

    path = run / "ranking.csv"
    if not path.is_file():
        raise InputError(
            f"{run}: no ranking.csv in it; give a finished run, or make one: hansaudit rank {run}"
        )
    return pd.read_csv(path)


def compare(list_file: Path, runs: Sequence[Path]) -> str:
    """The table of all runs. Raises :class:`InputError` for a run without a class of ImageNet."""
    from pipeline.errors import InputError
    from pipeline.inputs.datasets.ilsvrc2012 import imagenet_classes

    listed, ids, rows = read_list(list_file), set(imagenet_classes()[0]), []
    for run in runs:
        table = ranking_of(run)
        if not set(table["class_id"]) & ids:
            raise InputError(f"{run}: no class of ImageNet in it; give a run whose class ids are synsets")
        rows += shown(run.name, table, listed)
    return markdown(["run", "listed classes", "order", "of classes", "AUC"], rows) + "\n"


def main() -> None:
    from pipeline.errors import InputError

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--list", type=Path, required=True, help="classes that people marked")
    parser.add_argument("--out", type=Path, default=Path("human-lists"))
    options = parser.parse_args()
    try:
        told = compare(options.list, options.runs)
    except InputError as error:
        raise SystemExit(f"benchmarks.human_lists: {error}") from error
    publish(options.out, "human-lists", {"versions": versions(), "table": told}, told)


if __name__ == "__main__":
    main()
