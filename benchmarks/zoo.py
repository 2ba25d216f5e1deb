"""Which network is explained by which method: ``python -m benchmarks.zoo [docs/lrp.md]``.

Every network of ``tests/explainers/zoo.py`` (random weights, non-trivial BatchNorm statistics, the smallest
input it takes), one image per method, with ledger. Prints the table or writes it between the marks of a page.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.output import replace_table

METHODS = ("lrp.epsilon", "lrp.preset_a", "lrp.preset_b", "lrp.alpha_2_beta_1", "lrp.epsilon_gamma_box")


def cell(method: str, model: Any, x: Any) -> tuple[str, str]:
    """`works (largest gap of the ledger)` or why not; and the equality of the logits."""
    from explainers import ExplainError, create_analyzer

    box = {"low": float(x.min()), "high": float(x.max())} if method == "lrp.epsilon_gamma_box" else {}
    try:
        fitted = create_analyzer(method, **box).fit(model)
        explanation = fitted.analyze(x, ledger=True)
    except ExplainError as error:
        return str(error), ""
    assert explanation.ledger is not None
    reason = explanation.reason[0]
    return reason or f"works ({explanation.ledger.gap.max():.0e})", f"{fitted.network.equality:.0e}"


def row(name: str) -> list[str]:
    """One network by all methods."""
    import keras

    from tests.explainers import zoo

    model = zoo.build(name)
    x = zoo.images(model, 1)
    cells = [cell(method, model, x) for method in METHODS]
    parameters, layers = model.count_params() / 1e6, len(model.layers)
    del model
    keras.backend.clear_session()
    gc.collect()
    return [name, str(layers), f"{parameters:.1f} M", cells[0][1], *(text for text, _ in cells)]


def markdown(names: Sequence[str]) -> str:
    """The table."""
    head = ["network", "layers", "weights", "logits differ by", *(f"`{method}`" for method in METHODS)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for name in names:
        lines.append("| " + " | ".join(row(name)) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    import tensorflow as tf

    from tests.explainers import zoo

    tf.config.run_functions_eagerly(True)  # one image each: compiling would take most of the time
    table = markdown(list(zoo.NETWORKS))
    if len(sys.argv) < 2:
        print(table)
        return
    replace_table(Path(sys.argv[1]), "zoo", table)


if __name__ == "__main__":
    main()
