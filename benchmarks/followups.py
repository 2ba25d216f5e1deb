"""Cost of edited and pasted images against the same number of plain batched forward passes.

    python -m benchmarks.followups --run runs/x [--rounds 5]

``--run``: a finished run with stored maps; its dataset and model are where it says. It is only read.
One block of its classes is edited (interventions) and one is pasted (transfer), as a run does it: pictures
read and decoded, edits made, asked in full batches, rows made. Beside it, interleaved in the same process, as
many passes of a batch that lies ready. Wall and processor time, medians of the ratios over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

MUST_REACH = 1.05


def stages(run: Any, bench: Any) -> dict[str, Callable[[], int]]:
    """What is measured by name: the first block of each stage, returns its forward passes."""
    from pipeline.measure.interventions.plan import plan_blocks
    from pipeline.measure.interventions.stage import edit_block
    from pipeline.measure.transfer import plan
    from pipeline.measure.transfer.stage import paste_block
    from pipeline.run.ranking_settings import ranking_method
    from pipeline.statistics.effects import undecided_classes

    config = bench.config
    edited = plan_blocks(run, config.interventions)[0]
    pasted, spots = plan.block_of(run, config.transfer, plan.plan_blocks(run, config.transfer)[0].key)
    method = ranking_method(run.manifest)

    def paste() -> int:
        made = paste_block(bench, pasted, spots, method)
        return made.passes + made.further_passes

    return {
        "interventions": lambda: edit_block(bench, edited, config.interventions, undecided_classes)[1],
        "transfer": paste,
    }


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Seconds of each stage over those of its passes, by clock, and the passes."""
    from pipeline.measure.bench import reopen
    from pipeline.measure.evaluate import Evaluator
    from pipeline.run.store import Store

    run = Store(options.run)
    bench = reopen(run)
    if options.batch:
        execution = bench.config.execution.model_copy(update={"batch_size": options.batch})
        bench = replace(bench, config=bench.config.model_copy(update={"execution": execution}))
    size, card = bench.config.execution.batch_size, bench.model.card
    network = Evaluator(bench.model.model, size).network
    ready = np.random.default_rng(0).normal(size=(size, card.height, card.width, card.channels))
    inputs = (ready.astype(np.float32),)
    results = {}
    for name, stage in stages(run, bench).items():
        passes = stage()  # compiles, and reads what the system then keeps

        def plain(batches: int = -(-passes // size)) -> None:
            for _ in range(batches):
                network.logits(inputs)

        plain()
        sides = [(timed(stage), timed(plain)) for _ in range(options.rounds)]
        wall, processor = ([a[clock] / b[clock] for a, b in sides] for clock in (0, 1))
        results[name] = {"passes": [float(passes)], "wall": wall, "processor": processor}
    return results


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of wall and of processor time."""
    start, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="folder of a finished run with maps")
    parser.add_argument("--batch", type=int, default=0, help="images at once; default: the run's")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name, figures in measure(options).items():
        ratios = ", ".join(
            f"{clock} {statistics.median(figures[clock]):.3f} ({min(figures[clock]):.3f} to "
            f"{max(figures[clock]):.3f})"
            for clock in ("wall", "processor")
        )
        print(f"{name}: {figures['passes'][0]:.0f} passes; x plain passes (<= {MUST_REACH}): {ratios}")


if __name__ == "__main__":
    main()
