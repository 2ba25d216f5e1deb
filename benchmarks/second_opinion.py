"""Zennit's maps of the same network and images: ``python -m benchmarks.second_opinion --model FILE``.

SqueezeNet 1.1 (layers named as in the original) is rebuilt in PyTorch from the Keras weights and explained by
Zennit in float64; hansaudit explains the Keras model in float32 and in float64. Prints the relative L2 of
their maps: in float32 a ReLU's input or two maxima within rounding of each other may flip in single images.
Zennit is no dependency: ``--peer-python`` names a Python that has it (and torch), this one by default.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FIRES = range(2, 10)
POOLS_AFTER = ("conv1", "fire3", "fire5")
# Zennit's ZPlus keeps b+ in the denominator: it is AlphaBeta(1, 0).
METHODS = {
    "lrp.epsilon": "Epsilon 1e-6 everywhere",
    "lrp.epsilon(eps=0.1)": "Epsilon 0.1 everywhere",
    "lrp.preset_a": "EpsilonPlus",
    "lrp.preset_b": "EpsilonAlpha2Beta1",
}


def analyzer(method: str) -> Any:
    from explainers import create_analyzer

    name, _, eps = method.partition("(eps=")
    return create_analyzer(name, eps=float(eps.rstrip(")"))) if eps else create_analyzer(name)


def photographs() -> Any:
    """Two crops of each colour photograph that comes with scikit-image, normalised as for ImageNet."""
    import numpy as np
    from skimage import data, transform

    inputs = []
    for photograph in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket()):
        side = 3 * min(photograph.shape[:2]) // 4
        for crop in (photograph[:side, :side], photograph[-side:, -side:]):
            image = transform.resize(crop, (224, 224), anti_aliasing=True)
            inputs.append((image - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225))
    return np.array(inputs, "float32")


def in_float64(model: Any) -> Any:
    """The same network and weights, computing in float64."""
    import keras
    import numpy as np

    def recast(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "dtype": "float64"})

    copy = keras.models.clone_model(model, clone_function=recast)
    copy.set_weights([np.asarray(w, "float64") for w in model.get_weights()])
    return copy


def ours(options: argparse.Namespace, file: Path) -> dict[str, tuple[Any, Any]]:
    """Maps of every method in float32 and float64; weights and images go into ``file`` for the peer."""
    import numpy as np

    from explainers.model.loading import load

    model, x = load(options.model), photographs()
    weights = {f"{layer.name}/{i}": w for layer in model.layers for i, w in enumerate(layer.get_weights())}
    np.savez(file, x=x, **weights)
    both = model, in_float64(model)
    return {
        method: tuple(analyzer(method).fit(m).analyze(x.astype(m.compute_dtype)).relevance for m in both)
        for method in METHODS
    }


def squeezenet(weights: Any) -> Any:
    """The network in PyTorch, float64, channels first."""
    import torch
    from torch import nn

    def conv(name: str, stride: int = 1, padding: int = 0) -> nn.Sequential:
        kernel, bias = weights[f"{name}/0"], weights[f"{name}/1"]
        layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[:2], stride, padding)
        layer.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
        layer.bias.data = torch.tensor(bias)
        return nn.Sequential(layer, nn.ReLU())

    class Fire(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.squeeze = conv(f"{name}_squeeze1x1")
            self.one, self.three = conv(f"{name}_expand1x1"), conv(f"{name}_expand3x3", padding=1)

        def forward(self, x: Any) -> Any:
            x = self.squeeze(x)
            return torch.cat([self.one(x), self.three(x)], dim=1)

    modules: list[Any] = []
    for name in ("conv1", *(f"fire{i}" for i in FIRES), "conv10"):
        modules.append(Fire(name) if name.startswith("fire") else conv(name, 2 if name == "conv1" else 1))
        if name in POOLS_AFTER:
            modules.append(nn.MaxPool2d(3, 2))
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()


def zennit(file: Path) -> None:
    """Zennit's maps of what is in ``file``, put beside it; run by the peer's Python."""
    import numpy as np
    import torch
    from zennit.composites import EpsilonAlpha2Beta1, EpsilonPlus, LayerMapComposite, layer_map_base
    from zennit.rules import Epsilon
    from zennit.types import Convolution

    tiny = 1e-12  # hansaudit adds nothing to a sum of one sign

    def epsilon(eps: float) -> Any:
        return LayerMapComposite([*layer_map_base(1e-6), (Convolution, Epsilon(eps))])

    composites = dict(
        zip(METHODS, (epsilon(1e-6), epsilon(0.1), EpsilonPlus(stabilizer=tiny),
                      EpsilonAlpha2Beta1(stabilizer=tiny)), strict=True)
    )  # fmt: skip
    given = np.load(file)
    model = squeezenet({name: given[name].astype("float64") for name in given.files if "/" in name})
    maps = {}
    for method, composite in composites.items():
        x = torch.tensor(given["x"].astype("float64").transpose(0, 3, 1, 2).copy(), requires_grad=True)
        with composite.context(model) as modified:
            output = modified(x)
            best = output.max(dim=1, keepdim=True).values
            (relevance,) = torch.autograd.grad(output, x, torch.where(output == best, output, 0.0).detach())
        maps[method] = relevance.numpy().transpose(0, 2, 3, 1)
    np.savez(file.with_suffix(".maps.npz"), **maps)


def table(maps: dict[str, tuple[Any, Any]], theirs: Any) -> str:
    """One line per method: median and worst over the images."""
    import numpy as np

    head = ["hansaudit", "Zennit", "float32: median, worst", "float64: median, worst"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for method, both in maps.items():
        cells = []
        for relevance in both:
            pairs = [(a.astype("float64"), b) for a, b in zip(relevance, theirs[method], strict=True)]
            error = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs]
            cells.append(f"{np.median(error):.0e}, {max(error):.0e}")
        lines.append(f"| `{method}` | {METHODS[method]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.second_opinion", description=__doc__)
    parser.add_argument("--model", type=Path, help="SqueezeNet 1.1 as a .keras file")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        zennit(options.peer)
        return
    if options.model is None:
        parser.error("--model is needed: a .keras file of SqueezeNet 1.1")
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.npz"
        maps = ours(options, file)
        done = subprocess.run(
            [options.peer_python, __file__, "--peer", str(file)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"Zennit in {options.peer_python}: {done.stderr.strip().splitlines()[-1]}")
        print(table(maps, np.load(file.with_suffix(".maps.npz"))))


if __name__ == "__main__":
    main()
