"""Other packages' LRP on VGG16, each against the gradient of its own framework, where they can be imported.

Stands alone (``python benchmarks/peers.py``): iNNvestigate needs Keras 2 and so an interpreter of its own;
``python -m benchmarks.lrp --peers --peer-python PATH [PATH ...]`` uses several. Prints one JSON list.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

Subjects = dict[str, Callable[[Any], Any]]  # "gradient" and the peer's methods: a batch -> maps
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def measure_peers(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run this file with each ``options.peer_python`` and read what they print."""
    arguments = ["--batch", str(options.batch), "--threads", str(options.threads)]
    arguments += ["--repeats", str(options.repeats)]
    answers: list[dict[str, Any]] = []
    for python in options.peer_python:
        done = subprocess.run([python, __file__, *arguments], check=True, capture_output=True, text=True)
        answers += json.loads(done.stdout.splitlines()[-1])
    measured = [peer for peer in answers if "ratio" in peer]
    missing = {peer["name"]: peer for peer in answers if "ratio" not in peer}
    have = " ".join(peer["name"].lower() for peer in measured)
    return measured + [peer for name, peer in missing.items() if name not in have]


def innvestigate(threads: int) -> Subjects:
    """iNNvestigate 2 (Alber et al. 2019): TensorFlow graph mode, Keras 2."""
    import innvestigate as peer
    import tensorflow as tf

    tf.compat.v1.disable_eager_execution()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = peer.model_wo_softmax(tf.keras.applications.VGG16(weights=None))
    names = {
        "gradient": "gradient",
        "iNNvestigate lrp.epsilon": "lrp.epsilon",
        "iNNvestigate preset A": "lrp.sequential_preset_a",
        "iNNvestigate preset B": "lrp.sequential_preset_b",
        "iNNvestigate deconvnet": "deconvnet",
    }
    return {shown: peer.create_analyzer(name, model).analyze for shown, name in names.items()}


def torch_vgg16(threads: int) -> Any:
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    channels = 3
    for filters in VGG16:
        if not filters:
            modules.append(nn.MaxPool2d(2))
            continue
        modules += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
        channels = filters
    dense = [nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]

    class Network(nn.Module):  # flattens in a function: Captum has no rule for the Flatten module
        def __init__(self) -> None:
            super().__init__()
            self.features, self.dense = nn.Sequential(*modules), nn.Sequential(*dense)

        def forward(self, x: Any) -> Any:
            return self.dense(torch.flatten(self.features(x), 1))

    return Network().eval()


def torch_gradient(model: Any, x: Any) -> Any:
    import torch

    inputs = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    (gradient,) = torch.autograd.grad(model(inputs).max(dim=1).values.sum(), inputs)
    return gradient.numpy()


def zennit(threads: int) -> Subjects:
    """Zennit (Anders et al. 2021)."""
    from zennit.composites import EpsilonAlpha2Beta1, EpsilonPlus

    model = torch_vgg16(threads)

    def explain(composite: Any) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            with composite.context(model) as modified:
                return torch_gradient(modified, x)

        return run

    return {
        "gradient": lambda x: torch_gradient(model, x),
        "Zennit EpsilonPlus": explain(EpsilonPlus()),
        "Zennit EpsilonAlpha2Beta1": explain(EpsilonAlpha2Beta1()),
    }


def captum(threads: int) -> Subjects:
    """Captum's LRP (Kokhlikyan et al. 2020), its default Epsilon rules."""
    import torch
    from captum.attr import LRP

    model = torch_vgg16(threads)

    def epsilon(x: Any) -> Any:
        inputs = torch.tensor(x.transpose(0, 3, 1, 2).copy())
        target = model(inputs).argmax(dim=1)
        return LRP(model).attribute(inputs, target=target).detach().numpy()

    return {"gradient": lambda x: torch_gradient(model, x), "Captum LRP": epsilon}


PEERS: dict[str, Callable[[int], Subjects]] = {
    "innvestigate": innvestigate,
    "zennit": zennit,
    "captum": captum,
}


def measure_one(peer: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Setup seconds, seconds per batch, and the ratio to the gradient, repetitions interleaved."""
    import numpy as np

    x = np.random.default_rng(1).normal(size=(options.batch, 224, 224, 3)).astype("float32")
    start = time.perf_counter()
    subjects = PEERS[peer](options.threads)
    built = time.perf_counter() - start
    setup, seconds = {}, {name: [] for name in subjects}
    for name, function in subjects.items():
        start = time.perf_counter()
        function(x)
        setup[name] = built + time.perf_counter() - start
    for _ in range(options.repeats):
        for name, function in subjects.items():
            start = time.perf_counter()
            function(x)
            seconds[name].append(time.perf_counter() - start)
    return [
        {
            "name": name,
            "setup_s": setup[name],
            "run_s": values,
            "ratio": float(np.median(np.divide(values, seconds["gradient"]))),
        }
        for name, values in seconds.items()
        if name != "gradient"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", choices=tuple(PEERS), help="measure this one only")
    options = parser.parse_args()
    if options.peer:
        print(json.dumps(measure_one(options.peer, options)))
        return
    answers: list[dict[str, Any]] = []
    for peer in PEERS:  # a process each: they set their framework up in ways that exclude one another
        if importlib.util.find_spec(peer) is None:
            answers.append({"name": peer, "reason": "not importable here"})
            continue
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--peer", peer], capture_output=True, text=True
        )
        if done.returncode:
            answers.append({"name": peer, "reason": done.stderr.strip().splitlines()[-1]})
        else:
            answers += json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
