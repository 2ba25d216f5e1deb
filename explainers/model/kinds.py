"""Kinds of nodes as data: what holds for each, and every list of kinds derived from that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeKind:
    """What holds for every node of a kind.

    `weighted`: a linear operator with weights and a bias; a rule decides how relevance crosses it.
    `linear`: affine in its inputs, so that differences of inputs cross it by the chain rule.
    `convolves`: its weights slide over places.
    `neurons`: each output channel is a neuron with weights of its own over several inputs.
    `keeps_sign`: inputs >= 0 give outputs >= 0 (by `scale` where its weights are).
    `keeps_zero`: where outputs that are 0 have no relevance, inputs that are 0 get none, if all of
    an output's relevance goes to the inputs that make it up (of an activation its function says so).
    `prepares`: at the input it only prepares it.
    `same_place`: a place of the output has to do with that place of the inputs only.
    `declarable`: a layer of one's own can be declared to be one.
    `crossed`: presets have a rule for it; not the input, nor what is dropped, collapsed or unknown.
    """

    name: str
    weighted: bool = False
    linear: bool = False
    convolves: bool = False
    neurons: bool = False
    keeps_sign: bool = False
    keeps_zero: bool = False
    prepares: bool = False
    same_place: bool = False
    declarable: bool = True
    crossed: bool = True


def _weighted(
    name: str, convolves: bool = False, neurons: bool = True, prepares: bool = False, same_place: bool = False
) -> NodeKind:
    return NodeKind(
        name, weighted=True, linear=True, convolves=convolves, neurons=neurons, prepares=prepares,
        same_place=same_place, declarable=False,
    )  # fmt: skip


def _rearrangement(name: str, keeps_zero: bool = True) -> NodeKind:
    """Moves values: linear without weights."""
    return NodeKind(name, linear=True, keeps_sign=True, keeps_zero=keeps_zero, prepares=True)


_ALL = (
    _weighted("dense"),
    _weighted("conv", convolves=True),
    _weighted("depthwise_conv", convolves=True),
    _weighted("separable_conv", convolves=True),
    _weighted("conv_transpose", convolves=True),
    _weighted("einsum", neurons=False),
    _weighted("scale", neurons=False, prepares=True, same_place=True),
    NodeKind("activation", same_place=True),
    NodeKind("normalize", same_place=True),
    NodeKind("max_pool", keeps_sign=True, keeps_zero=True),
    NodeKind("maximum", keeps_sign=True, keeps_zero=True, same_place=True),
    NodeKind("minimum", keeps_sign=True, keeps_zero=True, same_place=True),
    NodeKind("avg_pool", linear=True, keeps_sign=True),
    NodeKind("add", linear=True, keeps_sign=True, same_place=True),
    NodeKind("subtract", linear=True, same_place=True),
    NodeKind("average", linear=True, keeps_sign=True, same_place=True),
    # not at the input: joining what came from two inputs is more than preparing one
    NodeKind("concat", linear=True, keeps_sign=True, keeps_zero=True, same_place=True),
    _rearrangement("reshape"),
    _rearrangement("pad"),
    _rearrangement("crop"),
    _rearrangement("slice"),
    _rearrangement("upsample", keeps_zero=False),  # interpolated: other inputs add to the output
    NodeKind("multiply", keeps_sign=True, keeps_zero=True, same_place=True),
    # the first input times the second, which only says how much of it passes
    NodeKind("gated", keeps_sign=True, keeps_zero=True, same_place=True),
    NodeKind("embedding"),
    NodeKind("softmax", keeps_sign=True),
    NodeKind("matmul", keeps_sign=True),
    NodeKind(
        "identity",
        linear=True,
        keeps_sign=True,
        keeps_zero=True,
        prepares=True,
        same_place=True,
        crossed=False,
    ),
    NodeKind("input", declarable=False, crossed=False),
    NodeKind("subgraph", declarable=False, crossed=False),
    NodeKind("unknown", declarable=False, crossed=False),
)
NODE_KINDS: dict[str, NodeKind] = {kind.name: kind for kind in _ALL}

# Names of kinds, for messages and for the pairs of a preset.
WEIGHTED = tuple(kind.name for kind in _ALL if kind.weighted)
CONVOLUTIONS = tuple(kind.name for kind in _ALL if kind.convolves)
WEIGHTLESS = tuple(kind.name for kind in _ALL if kind.crossed and not kind.weighted)
LINEAR_WEIGHTLESS = tuple(kind.name for kind in _ALL if kind.crossed and kind.linear and not kind.weighted)
DECLARABLE = tuple(kind.name for kind in _ALL if kind.declarable)
