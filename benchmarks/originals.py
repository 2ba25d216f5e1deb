"""Maps of the profile `innvestigate_2` against the package itself: ``python -m benchmarks.originals``.

iNNvestigate 2.1 needs TensorFlow 2.14 and so an interpreter of its own: the command makes an environment in
``--folder`` and installs both (pip, as it is set up here), or takes ``--peer-python``. One small network with
the same weights is built on both sides by the same lines, once without BatchNorm, once with, and once with
BatchNorms whose variance and scale are 1; both explain the same inputs for class 0 in float64. Prints the
largest relative L2 between the maps of an image; with a page it writes the table there, between its markers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEER = ("innvestigate==2.1.2", "tensorflow==2.14.*")
NETWORKS = {
    "plain": "no BatchNorm",
    "norm": "BatchNorm",
    "unit": "BatchNorm, variance and scale 1",
}
SIDE, IMAGES = 12, 6
LOW, HIGH = -1.0, 2.0
NORM = "norm"  # the layer's name


@dataclass(frozen=True)
class Pair:
    """A method here and there, with its parameters here; `taken`: what of the peer's is taken over."""

    ours: str
    theirs: str
    parameters: dict[str, Any] = field(default_factory=dict)
    taken: str = ""

    @property
    def name(self) -> str:
        """How the table calls it."""
        given = [f"{key}={value}" for key, value in self.parameters.items()]
        given += [self.taken] if self.taken else []
        return f"`{self.ours}`{', ' if given else ''}{', '.join(given)}"


PROFILE = {"profile": "innvestigate_2"}
BOUNDS = {"low": LOW, "high": HIGH}
# what is done otherwise there, and can be done here by rules of one's own
PRESETS_NORM = "BatchNorm as there"
POOLS = "average pooling as there"
FIRST_TOO = "average pooling and first layer as there"
PAIRS = (
    Pair("lrp.epsilon", "lrp.epsilon", PROFILE),
    Pair("lrp.z_plus", "lrp.z_plus", PROFILE),
    Pair("lrp.alpha_1_beta_0", "lrp.alpha_1_beta_0", PROFILE),
    Pair("lrp.alpha_2_beta_1", "lrp.alpha_2_beta_1", PROFILE),
    Pair("lrp.preset_a", "lrp.sequential_preset_a", PROFILE),
    Pair("lrp.preset_b", "lrp.sequential_preset_b", PROFILE),
    Pair("lrp.preset_a_flat", "lrp.sequential_preset_a_flat", PROFILE),
    Pair("lrp.preset_b_flat", "lrp.sequential_preset_b_flat", PROFILE),
    Pair("lrp.preset_a", "lrp.sequential_preset_a", PROFILE, PRESETS_NORM),
    Pair("lrp.preset_b", "lrp.sequential_preset_b", PROFILE, PRESETS_NORM),
    Pair("lrp.zero", "lrp.z"),
    Pair("lrp.w_square", "lrp.w_square"),
    Pair("lrp.flat", "lrp.flat"),
    Pair("deep_taylor", "deep_taylor"),
    Pair("deep_taylor", "deep_taylor", taken=FIRST_TOO),
    Pair("deep_taylor.bounded", "deep_taylor.bounded", BOUNDS),
    Pair("deep_taylor.bounded", "deep_taylor.bounded", BOUNDS, POOLS),
)


def build(keras: Any, kind: str) -> Any:
    """The network by a Keras of either kind: convolution, pooling, dense; logits."""
    layers = keras.layers
    x = keras.Input((SIDE, SIDE, 3))
    t = layers.Conv2D(4, 3, padding="same", name="first")(x)
    if kind != "plain":
        t = layers.BatchNormalization(name=NORM)(t)
    t = layers.MaxPooling2D(2)(layers.Activation("relu")(t))
    t = layers.Conv2D(6, 3, activation="relu", name="second")(t)
    t = layers.Flatten()(layers.AveragePooling2D(2)(t))
    t = layers.Dense(8, activation="relu", name="hidden")(t)
    return keras.Model(x, layers.Dense(3, name="output")(t))


def filled(model: Any, weights: Any, kind: str) -> Any:
    """The network with the weights of its kind."""
    for layer in model.layers:
        count = len(layer.get_weights())
        if count:
            layer.set_weights([weights[f"{kind}/{layer.name}/{i}"] for i in range(count)])
    return model


def weights_of(model: Any, kind: str, rng: Any) -> dict[str, Any]:
    """Normal weights and biases, logits above 0; BatchNorms with moving averages that are not trivial."""
    import numpy as np

    made = {}
    for layer in model.layers:
        for i, old in enumerate(layer.get_weights()):
            new = rng.normal(size=old.shape) / np.sqrt(max(1, np.prod(old.shape[:-1])))
            if layer.name == NORM:
                scale, variance = (1 + 0.3 * new, 0.5 + np.abs(new)) if kind == "norm" else (1 + 0 * new,) * 2
                new = (scale, 0.3 * new, 0.3 * new, variance)[i]
            if layer.name == "output" and new.ndim == 1:
                new = new + 3.0  # positive logits: deep Taylor decomposition is not defined for others
            made[f"{kind}/{layer.name}/{i}"] = new
    return made


def prepared(file: Path) -> dict[str, Any]:
    """Weights of every network and inputs, also written into ``file``."""
    import keras
    import numpy as np

    keras.backend.set_floatx("float64")
    rng = np.random.default_rng(0)
    given = {"x": rng.uniform(LOW, HIGH, (IMAGES, SIDE, SIDE, 3))}
    for kind in NETWORKS:
        given |= weights_of(build(keras, kind), kind, rng)
    np.savez(file, **given)  # type: ignore[arg-type]
    return given


def ours(given: dict[str, Any]) -> dict[str, Any]:
    """Maps of every pair and network by ``kind/number``; nan where there is none."""
    import keras
    import numpy as np

    from explainers import create_analyzer

    maps = {}
    for kind in NETWORKS:
        model = filled(build(keras, kind), given, kind)
        for i, pair in enumerate(PAIRS):
            extra = {"rules": as_there(pair.taken, model)} if pair.taken else {}
            made = create_analyzer(pair.ours, **pair.parameters, **extra).fit(model).analyze(given["x"], 0)
            undefined = np.array([reason is not None for reason in made.reason])
            maps[f"{kind}/{i}"] = np.where(undefined[:, None, None, None], np.nan, made.relevance)
    return maps


def as_there(what: str, model: Any) -> tuple[Any, ...]:
    """Pairs of condition and rule that do what the peer does."""
    from explainers.rules import ChainRule, Custom, ZPlus
    from explainers.rules.presets import Kinds, Named

    if what == PRESETS_NORM:
        norms = [layer for layer in model.layers if layer.name == NORM]
        return tuple((Kinds("scale"), Custom(positive_inputs(layer))) for layer in norms)
    pools = (Kinds("avg_pool"), ChainRule())
    return (pools,) if what == POOLS else (pools, (Named("first"), ZPlus()))


def positive_inputs(norm: Any) -> Any:
    """AlphaBeta(2, 1) of a BatchNorm's scale and shift that gives inputs below 0 nothing."""
    import numpy as np
    from keras import ops

    gamma, beta, mean, variance = (np.asarray(w) for w in norm.get_weights())
    w = gamma / np.sqrt(variance + norm.epsilon)
    b = beta - mean * w

    def mapping(inputs: Any, output: Any, R: Any) -> Any:
        a = ops.relu(inputs[0])
        up, down = (
            a * f(w, 0) * ops.divide_no_nan(R, a * f(w, 0) + f(b, 0)) for f in (np.maximum, np.minimum)
        )
        return 2 * up - down

    return mapping


def theirs(file: Path) -> None:
    """iNNvestigate's maps of what is in ``file``, put beside it; run by the peer's Python."""
    import innvestigate
    import numpy as np
    import tensorflow as tf

    tf.compat.v1.disable_eager_execution()
    tf.keras.backend.set_floatx("float64")
    given, maps = np.load(file), {}
    for kind in NETWORKS:
        for i, pair in enumerate(PAIRS):
            bounds = {key: pair.parameters[key] for key in ("low", "high") if key in pair.parameters}
            # a graph of its own: in one for all, every analysis is slower than the one before
            with tf.Graph().as_default(), tf.compat.v1.Session() as session:
                tf.compat.v1.keras.backend.set_session(session)
                model = filled(build(tf.keras, kind), given, kind)
                try:
                    method = innvestigate.create_analyzer(
                        pair.theirs, model, neuron_selection_mode="index", **bounds
                    )
                    maps[f"{kind}/{i}"] = method.analyze(given["x"], neuron_selection=0)
                except Exception as error:  # whatever it is, the table says that there is no map
                    print(f"{kind}, {pair.theirs}: {type(error).__name__}: {str(error).splitlines()[0]}")
    np.savez(file.with_suffix(".maps.npz"), **maps)


def environment(folder: Path) -> Path:
    """The Python of an environment with the peer; made where it is not there yet."""
    python = folder / "bin" / "python"
    if not python.is_file():
        print(f"making {folder} with {' and '.join(PEER)}", flush=True)
        venv.create(folder, with_pip=True)
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *PEER], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise SystemExit(f"{' and '.join(PEER)} could not be installed: {(lines or ['pip failed'])[0]}")
    return python


def measured(python: str | Path) -> dict[str, list[float | None]]:
    """By pair: the largest relative L2 over the images, for each network."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.npz"
        made = ours(prepared(file))
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
        command = [str(python), "-W", "ignore", __file__, "--peer", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
        if done.returncode:
            raise SystemExit(f"iNNvestigate in {python}: {done.stderr.strip().splitlines()[-1]}")
        print(done.stdout, end="")
        others = np.load(file.with_suffix(".maps.npz"))
        return {
            pair.name: [_largest(made[key], others.get(key)) for key in (f"{kind}/{i}" for kind in NETWORKS)]
            for i, pair in enumerate(PAIRS)
        }


def _largest(a: Any, b: Any) -> float | None:
    """Largest relative L2 over the images that both have a map of; None where the peer has none at all."""
    import numpy as np

    if b is None:
        return None
    pairs = [(p, q) for p, q in zip(a, b, strict=True) if np.isfinite(p).all() and q.any()]
    return max(float(np.linalg.norm(p - q) / np.linalg.norm(q)) for p, q in pairs)


def table(differences: dict[str, list[float | None]]) -> str:
    """A line per pair."""
    heads = ["here", "iNNvestigate 2.1.2", *NETWORKS.values()]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for pair in PAIRS:
        figures = ["fails" if value is None else f"{value:.0e}" for value in differences[pair.name]]
        lines.append(f"| {pair.name} | `{pair.theirs}` | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.originals", description=__doc__)
    parser.add_argument("page", type=Path, nargs="?", help="Markdown page that the table is written into")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/originals-venv"))
    parser.add_argument("--peer-python", help="a Python that has iNNvestigate; else one is made in --folder")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        theirs(options.peer)
        return
    from benchmarks.output import replace_table

    made = table(measured(options.peer_python or environment(options.folder)))
    print(made)
    if options.page:
        replace_table(options.page, "originals", made)


if __name__ == "__main__":
    main()
