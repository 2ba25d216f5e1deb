"""Zennit and Captum on PyTorch's VGG16, in this process, where they can be imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.device import Device
from benchmarks.gpu.table import Row, Table
from benchmarks.peers import torch_vgg16

NETWORK = "vgg16 (PyTorch)"
OWN = "framework's gradient"


def measure_peers(table: Table, device: Device, batch: int) -> None:
    """Rows of all that there are, float32 without tf32; on the GPU where PyTorch sees one."""
    if importlib.util.find_spec("torch") is None:
        table.add(Row(NETWORK, "Zennit, Captum", note="not measured: PyTorch is not installed"))
        return
    import torch

    where = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = torch_vgg16(torch.get_num_threads()).to(where)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    drawn = np.random.default_rng(1).normal(size=(batch, 3, 224, 224)).astype("float32")
    x = torch.tensor(drawn, device=where)
    subjects: dict[str, Callable[[], Any]] = {OWN: lambda: _gradient(model, x)}
    missing = []
    for peer, make in (("zennit", _zennit), ("captum", _captum)):
        if importlib.util.find_spec(peer) is None:
            missing.append(peer)
        else:
            subjects |= make(model, x)
    seconds: dict[str, float] = {}
    for name, call in subjects.items():
        device.forget_peak()
        seconds[name] = device.seconds(lambda call=call: _done(call, where))
        times = f"{seconds[name] / seconds[OWN]:.2f} x the time of its framework's gradient"
        peak = device.peak() if device.backend == "torch" else ""  # JAX knows nothing of PyTorch's memory
        table.add(Row(NETWORK, name, "float32", batch, batch / seconds[name], peak=peak, note=times))
    for peer in missing:
        table.add(Row(NETWORK, peer, note="not measured: not installed"))


def _done(call: Callable[[], Any], where: str) -> None:
    """Call, and return when it is computed."""
    import torch

    call()
    if where == "cuda":
        torch.cuda.synchronize()


def _gradient(model: Any, x: Any) -> Any:
    import torch

    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(model(leaf).max(dim=1).values.sum(), leaf)[0]


def _zennit(model: Any, x: Any) -> dict[str, Callable[[], Any]]:
    """Zennit (Anders et al. 2021): Epsilon above, ZPlus or Alpha2Beta1 in the convolutions."""
    from zennit.composites import EpsilonAlpha2Beta1, EpsilonPlus

    def explain(composite: Any) -> Callable[[], Any]:
        def run() -> Any:
            with composite.context(model) as modified:
                return _gradient(modified, x)

        return run

    return {
        "Zennit EpsilonPlus": explain(EpsilonPlus()),
        "Zennit EpsilonAlpha2Beta1": explain(EpsilonAlpha2Beta1()),
    }


def _captum(model: Any, x: Any) -> dict[str, Callable[[], Any]]:
    """Captum's LRP (Kokhlikyan et al. 2020) with its default Epsilon rules."""
    from captum.attr import LRP

    def run() -> Any:
        target = model(x).argmax(dim=1)
        return LRP(model).attribute(x.detach().requires_grad_(), target=target)

    return {"Captum LRP": run}
