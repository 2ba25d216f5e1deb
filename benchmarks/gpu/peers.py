"""Zennit and Captum on PyTorch's VGG16, in this process, where they can be imported."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.gpu.device import Device
from benchmarks.gpu.order import FRAMEWORK
from benchmarks.gpu.table import Row, Table, failure
from benchmarks.peers import torch_vgg16

NETWORK = "vgg16 (PyTorch)"


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
    own = _row(device, FRAMEWORK, batch, partial(_done, partial(_gradient, model, x), where))
    table.add(own)
    for name, make in (("Zennit", _zennit), ("Captum", _captum)):
        try:
            subjects = make(model, x)
        except ImportError as error:
            table.add(Row(NETWORK, name, note=failure(error)))
            continue
        for what, call in subjects.items():
            table.add(_row(device, what, batch, partial(_done, call, where), own.rate))


def _row(device: Device, what: str, batch: int, call: Callable[[], None], own: float | None = None) -> Row:
    """Of one peer; ``own``: images a second of PyTorch's gradient."""
    device.forget_peak()
    try:
        rate = batch / device.seconds(call)
    except Exception as error:  # a peer's own fault costs its row alone
        return Row(NETWORK, what, "float32", batch, note=failure(error))
    peak = device.peak() if device.backend == "torch" else ""  # JAX knows nothing of PyTorch's memory
    times = f"{own / rate:.2f} x the time of PyTorch's gradient" if own else ""
    return Row(NETWORK, what, "float32", batch, rate, peak=peak, note=times)


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


def stand_in_for_torchvision() -> None:
    """Where it cannot be imported (it is missing, or made for another PyTorch): Zennit reads two classes of
    it, for networks that are not measured here."""
    try:
        importlib.import_module("torchvision.models.resnet")
    except Exception:  # the C++ of a torchvision for another PyTorch: whatever it raises
        names = ("torchvision", "torchvision.models", "torchvision.models.resnet")
        made = {name: ModuleType(name) for name in names}
        for name in ("BasicBlock", "Bottleneck"):
            setattr(made[names[-1]], name, type(name, (), {}))
        sys.modules.update(made)


def _zennit(model: Any, x: Any) -> dict[str, Callable[[], Any]]:
    """Zennit (Anders et al. 2021): Epsilon above, ZPlus or Alpha2Beta1 in the convolutions."""
    if importlib.util.find_spec("zennit") is not None:
        stand_in_for_torchvision()
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
