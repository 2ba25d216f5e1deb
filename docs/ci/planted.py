"""Data and configuration of the three jobs in this folder: a clean network, a Clever Hans, one nobody tested.

    python docs/ci/planted.py clever-hans runs/ci

Draws a planted dataset (twelve classes of objects; for ``clever-hans`` three of them with a mark beside the
object) and writes ``runs/ci/audit.toml``, by which `hansaudit run` trains a network on it and audits it. With
``untested`` no image is edited, so the audit cannot know what the network needs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

NETWORKS = ("clean", "clever-hans", "untested")
AUDIT = """\
perturbation = false

[dataset]
source = "planted"
path = {path}

[model]
source = "planted"

[[methods]]
name = "lrp.preset_a"

[interventions]
images = {images}
most = {most}
"""


def prepare(network: str, out: Path, validation: int, train: int) -> Path:
    """Draw the dataset below ``out``; returns the configuration of its audit."""
    from pipeline.inputs.datasets.planted import DEFAULT_ARTEFACTS, PlantedSpec, prepare_planted

    marks = DEFAULT_ARTEFACTS if network == "clever-hans" else ()
    spec = PlantedSpec(artefacts=marks, train_per_class=train, validation_per_class=validation)
    folder = prepare_planted(spec, out / "data")
    images = 0 if network == "untested" else 20
    config = out / "audit.toml"
    config.write_text(AUDIT.format(path=json.dumps(str(folder)), images=images, most=3 * images))
    return config


def main() -> None:
    """Draw and write what a job needs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--validation", type=int, default=60, help="audited images per class")
    parser.add_argument("--train", type=int, default=300, help="training images per class")
    options = parser.parse_args()
    print(prepare(options.network, options.out, options.validation, options.train))


if __name__ == "__main__":
    main()
