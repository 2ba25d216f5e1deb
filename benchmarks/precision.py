"""What a coarser precision changes in an audit: predictions, maps, order and verdicts of classes, rate.

    python -m benchmarks.precision --archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras \
        --cache FOLDER [--precision bfloat16] [--methods lrp.preset_a lrp.epsilon gradient] [--limit N]

The network that was fine-tuned without marks (`benchmarks.real_networks`), audited on the validation images
of Tiny ImageNet by several methods, in float32 and in the precision that is asked for; each run in a process
of its own. Maps are compared where both runs explain the same class, as they are stored (pooled).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.output import publish, versions
from benchmarks.real_networks import Inputs, arguments, inputs_of
from benchmarks.real_runs import markdown, whole_run
from benchmarks.tiny_imagenet import ALONE, prepared_section

EXACT = "float32"
SIDE = 28  # of the stored maps
COLUMNS = (
    "method", "relative L2", "rank correlation", "lift differs by (median)", "rank correlation of classes",
    "classes with another word of the maps",
)  # fmt: skip


def audited(inputs: Inputs, precision: str, methods: list[str], limit: int | None) -> Path:
    """A finished audit without follow-ups in this precision."""
    out = inputs.cache / "runs" / f"precision-{precision}-{limit or 'all'}"
    dataset = prepared_section(inputs) | ({"limit": limit, "choice": "spread"} if limit else {})
    audit = {"precision": precision, "maps": SIDE, "thumbnails": False}
    sections = {name: value for name, value in ALONE.items() if name != "methods"} | {"audit": audit}
    whole_run(out, dataset, inputs.trained(0, marked=False), sections, methods)
    return out


def compare(exact: Path, coarse: Path, methods: list[str]) -> dict[str, Any]:
    """All figures of two finished runs on the same images."""
    from pipeline.run.store import Store

    runs = [Store(str(path)) for path in (exact, coarse)]
    examples = [run.read("examples", ["example_id", "prediction", "target"]).to_pandas() for run in runs]
    pair = examples[0].merge(examples[1], on="example_id", validate="one_to_one")
    same = set(pair["example_id"][pair["target_x"] == pair["target_y"]])
    rates = [_rate(run) for run in runs]
    return {
        "images": len(pair),
        "predictions changed": float(
            (pair["prediction_x"] != pair["prediction_y"])[pair["prediction_x"].notna()].mean()
        ),
        "images/s, over float32": rates[1] / rates[0],
        "methods": {name: _of_method(runs, name, same) for name in methods},
    }


def _rate(run: Any) -> float:
    """Images per second of the audit's loop."""
    sessions = [session for session in run.manifest["sessions"] if session["images"]]
    return sum(s["images"] for s in sessions) / sum(s["spent"]["audit"] for s in sessions)


def _of_method(runs: list[Any], method: str, same: set[str]) -> dict[str, float]:
    """Maps and lifts by image, orders and words by class."""
    from pipeline.config_sections import RankingConfig
    from pipeline.statistics.ranking import rank

    maps = [_maps(run, method, same) for run in runs]
    lifts = [_lifts(run, method) for run in runs]
    tables = [rank(run, RankingConfig(method=method)).table.set_index("label") for run in runs]
    order = pd.concat([table["adjusted_lift_raw"].astype(float) for table in tables], axis=1).dropna()
    words = [table["map_verdict"].reindex(tables[0].index) for table in tables]
    distances = [distance(a, maps[1][name]) for name, a in maps[0].items()]
    far, alike = np.nanmedian(np.array(distances), axis=0)
    return {
        "relative L2": float(far),
        "rank correlation": float(alike),
        "lift differs by": float((lifts[0] - lifts[1]).abs().loc[lambda d: d.index.isin(same)].median()),
        "rank correlation of classes": float(order.corr("spearman").iloc[0, 1]),
        "other words": int((words[0] != words[1]).sum()),
    }


def distance(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Relative L2 distance of ``b`` from ``a``, and rank correlation (Spearman); nan for a zero map ``a``."""
    if not a.any():
        return np.nan, np.nan
    far = np.linalg.norm(b - a) / np.linalg.norm(a)
    return float(far), float(pd.Series(a).corr(pd.Series(b), method="spearman"))


def _maps(run: Any, method: str, same: set[str]) -> dict[str, np.ndarray]:
    """Signed pooled maps by image."""
    table = run.read("maps", ["example_id", "method", "signed", "signed_scale"]).to_pylist()
    return {
        row["example_id"]: np.array(row["signed"], np.float64) * row["signed_scale"]
        for row in table
        if row["method"] == method and row["example_id"] in same and row["signed"] is not None
    }


def _lifts(run: Any, method: str) -> pd.Series:
    scores = run.read("scores", ["example_id", "method", "metric", "value"]).to_pandas()
    own = scores[(scores["method"] == method) & (scores["metric"] == "lift")]
    return own.set_index("example_id")["value"].astype(float)


def report(result: dict[str, Any], precision: str) -> str:
    """The figures as a table."""
    rows = [
        [name, *(f"{value:.3g}" for value in measured.values())]
        for name, measured in result["methods"].items()
    ]
    return (
        f"{precision} against float32, {result['images']} images: {result['predictions changed']:.2%} of the "
        f"predictions changed; images/s {result['images/s, over float32']:.2f} of float32's\n\n"
        f"{markdown(COLUMNS, rows)}\n"
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--precision", choices=("bfloat16", "tf32"), default="bfloat16")
    parser.add_argument("--methods", nargs="+", default=["lrp.preset_a", "lrp.epsilon_gamma_box", "gradient"])
    parser.add_argument("--limit", type=int, help="images, spread over the set; default all")
    options = parser.parse_args()
    inputs = inputs_of(options)
    exact, coarse = (audited(inputs, p, options.methods, options.limit) for p in (EXACT, options.precision))
    result = compare(exact, coarse, options.methods)
    published = {"versions": versions(), "precision": options.precision, "results": result}
    publish(inputs.cache, f"precision-{options.precision}", published, report(result, options.precision))


if __name__ == "__main__":
    main()
