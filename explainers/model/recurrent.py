"""Recurrent layers unrolled into nodes, step by step: linear maps, activations, sums, and products of a
signal with a gate. Gates are given no relevance: the signal takes all (Arras et al. 2017, arXiv:1706.07206;
2019, "Explaining and interpreting LSTMs", LNCS 11700 ch. 11).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from keras import ops

from explainers.engine import Tensor
from explainers.model.activations import function_name, kind_and_note
from explainers.model.graph import Arguments, Node
from explainers.model.linear import Dense, Scale
from explainers.model.live import double, host_array

MOST_STEPS = 256  # a step is about fifteen nodes of the compiled program


def open_recurrent(node: Node, arguments: Arguments) -> Node:
    """The node with its `parts`; without them, and with a note why, where it does more than run over time."""
    layer, shape = node.layer, tuple(arguments.tensors[0].shape)
    why = _refused(layer, arguments)
    if why:
        return replace(node, note=why)
    unrolled = _Unrolled(node, shape[1])
    if type(layer).__name__ == "Bidirectional":
        forward = unrolled.run(layer.forward_layer, "forward", shape[-1])
        backward = unrolled.run(layer.backward_layer, "backward", shape[-1])
        kind = {"concat": "concat", "sum": "add", "ave": "average", "mul": "multiply"}[layer.merge_mode]
        unrolled.add("merged", kind, (forward, backward), node.shape, call=_MERGED[layer.merge_mode])
    else:
        unrolled.run(layer, "", shape[-1])
    *parts, last = unrolled.nodes
    return replace(node, parts=(*parts, replace(last, name=node.name)))


_MERGED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda a, b: ops.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "ave": lambda a, b: (a + b) / 2,
    "mul": lambda a, b: a * b,
}


def _refused(layer: Any, arguments: Arguments) -> str:
    """Why the call cannot be unrolled; "" where it can."""
    both = type(layer).__name__ == "Bidirectional"
    inner = layer.forward_layer if both else layer
    steps = arguments.tensors[0].shape[1]
    if type(inner).__name__ not in _CELLS:
        return f"{type(inner).__name__} is not unrolled; valid: {', '.join(_CELLS)}"
    carried = getattr(arguments.tensors[0], "_keras_mask", None)
    if carried is not None or dict(arguments.kwargs).get("mask") is not None:
        return "a mask that tensors carry along is not supported; leave out mask_zero and Masking"
    if len(arguments.tensors) > 1 or layer.stateful or inner.return_state:
        return "a recurrent layer that is given or returns states is not supported"
    if both and layer.merge_mode not in _MERGED:
        return f"merge_mode {layer.merge_mode!r} is not supported; valid: {', '.join(_MERGED)}"
    if steps is None or steps > MOST_STEPS:
        return f"a recurrent layer over {steps or 'any number of'} steps; valid: fixed, up to {MOST_STEPS}"
    functions = [inner.cell.activation]
    if type(inner).__name__ != "SimpleRNN":
        functions.append(inner.cell.recurrent_activation)
    return next((note for f in functions if (note := kind_and_note(function_name(f))[1])), "")


@dataclass
class _Unrolled:
    """The nodes of a recurrent layer so far."""

    node: Node
    steps: int
    nodes: list[Node] = field(default_factory=list)

    def add(self, name: str, kind: str, inputs: Sequence[str], shape: tuple, **fields: Any) -> str:
        """One more node; returns its name."""
        made = Node(f"{self.node.name}/{name}", kind, tuple(inputs), shape, self.node.layer, **fields)
        self.nodes.append(made)
        return made.name

    def linear(self, name: str, source: str, weights: tuple[Any, Any], units: int) -> str:
        """`source @ kernel + bias`."""
        kernel, bias = weights
        return self.add(name, "dense", (source,), (None, units), linear=Dense(), kernel=kernel, bias=bias)

    def activated(self, name: str, source: str, function: Any, units: int) -> str:
        """An activation, or the source where it is the identity."""
        said = function_name(function)
        if said == "linear":
            return source
        return self.add(name, "activation", (source,), (None, units), call=function, function=said)

    def gated(self, name: str, signal: str, gate: str, units: int) -> str:
        """`signal * gate`, of which the signal takes all relevance."""
        return self.add(name, "gated", (signal, gate), (None, units), call=ops.multiply)

    def summed(self, name: str, parts: Sequence[str], units: int) -> str:
        """A sum of nodes, or the only one."""
        if len(parts) == 1:
            return parts[0]
        return self.add(name, "add", parts, (None, units), call=lambda *x: sum(x[1:], x[0]))

    def joined(self, name: str, x: str, h: str | None, units: int) -> str:
        """Input and state of a step, one behind the other; at the first step, without a state, the input."""
        if h is None:
            return x
        return self.add(name, "concat", (x, h), (None, units), call=lambda *t: ops.concatenate(t, axis=-1))

    def run(self, layer: Any, prefix: str, width: int) -> str:
        """A layer over all steps; returns the node of its output, as the layer orders it."""
        step, units = _CELLS[type(layer).__name__](layer.cell), layer.cell.units
        order = range(self.steps)[::-1] if layer.go_backwards else range(self.steps)
        state, outputs = _State(), []
        place = f"{prefix}/" if prefix else ""
        for t in order:
            cut = lambda x, t=t: x[:, t]  # noqa: E731 - a node's call
            x = self.add(f"{place}{t}/input", "slice", self.node.inputs, (None, width), call=cut)
            state = step(self, f"{place}{t}/", x, state)
            outputs.append(state.h)
        if not layer.return_sequences:
            return self.add(f"{place}last", "reshape", (outputs[-1],), (None, units), call=_same)
        if prefix == "backward":
            outputs = outputs[::-1]  # as Bidirectional turns it round again
        return self.add(
            f"{place}sequence", "concat", outputs, (None, self.steps, units), call=lambda *h: ops.stack(h, 1)
        )


def _same(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class _State:
    """Names of the nodes of output and memory; None before the first step, when both are 0."""

    h: Any = None
    c: Any = None


Step = Callable[[_Unrolled, str, str, _State], _State]


def _columns(cell: Any, index: int, first: bool) -> tuple[Any, Any]:
    """Kernel (inputs and, after the first step, state; units) and bias of one of a cell's linear maps."""
    units = slice(index * cell.units, (index + 1) * cell.units)
    kernel = double(host_array(cell.kernel))[:, units]
    if not first:
        kernel = np.concatenate([kernel, double(host_array(cell.recurrent_kernel))[:, units]], axis=0)
    return kernel, None if cell.bias is None else double(host_array(cell.bias))[units]


def _by_step(cell: Any, count: int) -> Callable[[int, _State], tuple[Any, Any]]:
    """The weights of a cell's linear maps, made once: all steps but the first share them."""
    made = {(i, first): _columns(cell, i, first) for i in range(count) for first in (True, False)}
    return lambda index, state: made[index, state.h is None]


def _simple(cell: Any) -> Step:
    """`h = act(W x + U h + b)`."""
    weights, units = _by_step(cell, 1), cell.units

    def step(u: _Unrolled, at: str, x: str, state: _State) -> _State:
        both = u.joined(f"{at}both", x, state.h, units + cell.kernel.shape[0])
        z = u.linear(f"{at}z", both, weights(0, state), units)
        return _State(u.activated(f"{at}h", z, cell.activation, units))

    return step


def _lstm(cell: Any) -> Step:
    """`i, f, o = gate(W x + U h + b)`, `c = f c + i act(...)`, `h = o act(c)`."""
    weights, units = _by_step(cell, 4), cell.units

    def step(u: _Unrolled, at: str, x: str, state: _State) -> _State:
        both = u.joined(f"{at}both", x, state.h, units + cell.kernel.shape[0])

        def part(name: str, index: int, function: Any) -> str:
            z = u.linear(f"{at}{name} z", both, weights(index, state), units)
            return u.activated(f"{at}{name}", z, function, units)

        new = u.gated(f"{at}new", part("candidate", 2, cell.activation),
                      part("in", 0, cell.recurrent_activation), units)  # fmt: skip
        kept = [new]
        if state.c is not None:
            kept = [u.gated(f"{at}kept", state.c, part("keep", 1, cell.recurrent_activation), units), new]
        c = u.summed(f"{at}c", kept, units)
        signal = u.activated(f"{at}signal", c, cell.activation, units)
        return _State(u.gated(f"{at}h", signal, part("out", 3, cell.recurrent_activation), units), c)

    return step


def _gru(cell: Any) -> Step:
    """`z, r = gate(W x + U h + b)`, `h = z h + (1 - z) act(W x + b + r (U h + b'))`, or `U (r h)` inside."""
    units, after = cell.units, bool(cell.reset_after)
    kernel, recurrent = double(host_array(cell.kernel)), double(host_array(cell.recurrent_kernel))
    bias = None if cell.bias is None else double(host_array(cell.bias))
    own = bias if bias is None or not after else bias[0]
    theirs = bias[1] if bias is not None and after else None
    columns = [slice(i * units, (i + 1) * units) for i in range(3)]

    def gate_weights(i: int, first: bool) -> tuple[Any, Any]:
        w = kernel[:, columns[i]]
        w = w if first else np.concatenate([w, recurrent[:, columns[i]]], axis=0)
        b = None if own is None else own[columns[i]]
        return w, b if theirs is None else b + theirs[columns[i]]

    gates = {(i, first): gate_weights(i, first) for i in (0, 1) for first in (True, False)}
    candidate = kernel[:, columns[2]], None if own is None else own[columns[2]]
    again = recurrent[:, columns[2]], None if theirs is None else theirs[columns[2]]
    nothing = np.zeros((kernel.shape[0], units)), again[1]  # the first step's U h + b' of no state

    def step(u: _Unrolled, at: str, x: str, state: _State) -> _State:
        first = state.h is None
        both = u.joined(f"{at}both", x, state.h, units + kernel.shape[0])

        def gate(name: str, i: int) -> str:
            z = u.linear(f"{at}{name} z", both, gates[i, first], units)
            return u.activated(f"{at}{name}", z, cell.recurrent_activation, units)

        parts = [u.linear(f"{at}candidate x", x, candidate, units)]
        if after and not (first and theirs is None):
            inner = u.linear(f"{at}candidate h", x if first else state.h, nothing if first else again, units)
            parts.append(u.gated(f"{at}reset", inner, gate("r", 1), units))
        elif not after and not first:
            reset = u.gated(f"{at}reset", state.h, gate("r", 1), units)
            parts.append(u.linear(f"{at}candidate h", reset, again, units))
        new = u.activated(
            f"{at}candidate", u.summed(f"{at}candidate z", parts, units), cell.activation, units
        )
        keep = gate("z", 0)
        rest = u.add(f"{at}1 - z", "scale", (keep,), (None, units), linear=Scale(), kernel=np.asarray(-1.0),
                     bias=np.ones(units))  # fmt: skip
        kept = [u.gated(f"{at}new", new, rest, units)]
        if not first:
            kept.insert(0, u.gated(f"{at}kept", state.h, keep, units))
        return _State(u.summed(f"{at}h", kept, units))

    return step


_CELLS: dict[str, Callable[[Any], Step]] = {"SimpleRNN": _simple, "LSTM": _lstm, "GRU": _gru}
