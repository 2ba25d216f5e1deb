"""The tables of node kinds and activations: complete, and what they claim is so."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import explainers
from explainers import register_kind, trace
from explainers.model import describe, linear_layers
from explainers.model.activations import ACTIVATIONS
from explainers.model.kinds import DECLARABLE, NODE_KINDS
from tests.explainers import zoo

layers, ops = keras.layers, keras.ops

FUNCTIONS: dict[str, Callable] = {
    "prelu": lambda x: ops.leaky_relu(x, 0.3),
    "thresholded_relu": layers.ReLU(threshold=1.0, negative_slope=0.5),
    "clip": lambda x: ops.clip(x, 1.0, 2.0),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_the_table_says_of_an_activation_is_so(name: str) -> None:
    function = FUNCTIONS.get(name) or getattr(keras.activations, name)
    x = np.array([[*np.linspace(-20, 20, 401), 0.0]], "float32")
    y = np.asarray(function(ops.convert_to_tensor(x)))[0]
    entry = ACTIVATIONS[name]
    assert entry.non_negative == bool(np.all(y >= 0)) or name == "clip"
    assert entry.keeps_zero == (y[-1] == 0)
    alone = np.asarray(function(ops.convert_to_tensor(x[:, 5:7])))[0, 0]
    assert entry.mixing == (not np.isclose(alone, y[5]))


def kinds_named(module: object) -> set[str]:
    """What is given as the kind of a node: `kind=...`, and the argument of builders that take one."""
    builders = ("_is", "_pool", "_binary", "_needs_two", "_linear")
    names = set()
    for call in ast.walk(ast.parse(inspect.getsource(module))):  # type: ignore[arg-type]
        if not isinstance(call, ast.Call):
            continue
        given = [k.value for k in call.keywords if k.arg == "kind"]
        if isinstance(call.func, ast.Name) and call.func.id in builders:
            given += call.args
        names |= {a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return names


def test_every_kind_that_a_builder_gives_is_in_the_table() -> None:
    named = kinds_named(describe) | kinds_named(linear_layers)
    assert {"conv", "scale", "max_pool", "matmul", "identity"} <= named  # they are read off the source
    assert named - set(NODE_KINDS) == {"divide"}  # a division of two tensors has no rule


@pytest.mark.parametrize("name", [name for name in zoo.NETWORKS if name in ("MobileNetV2", "vit")])
def test_every_kind_of_a_traced_network_is_in_the_table(name: str) -> None:
    assert {node.kind for node in trace(zoo.build(name))} <= set(NODE_KINDS)


def test_no_other_file_lists_kinds_or_activations_again() -> None:
    """Three or more of these names together, outside the pairs of a preset, are such a list."""
    names = set(NODE_KINDS) | set(ACTIVATIONS)
    lists = []
    for path in Path(explainers.__file__).parent.rglob("*.py"):
        for value in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(value, (ast.Tuple, ast.List, ast.Set)) and len(value.elts) > 2:
                texts = {getattr(element, "value", None) for element in value.elts}
                if texts <= names:
                    lists.append((path.name, sorted(texts)))
    assert lists == []


class Own(layers.Layer):
    def call(self, *x: object) -> object:
        return x[0]


def test_a_layer_of_ones_own_can_be_declared_to_be_any_kind_without_weights() -> None:
    assert set(DECLARABLE) == {name for name in NODE_KINDS if not NODE_KINDS[name].weighted} - {
        "input", "subgraph", "unknown",
    }  # fmt: skip
    for name in set(NODE_KINDS) - set(DECLARABLE):
        with pytest.raises(ValueError, match=f"kind {name!r} is not known or needs weights"):
            register_kind(Own, name)
