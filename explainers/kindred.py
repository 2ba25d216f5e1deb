"""The same methods on networks that differ in their weights only: compiled once for all of them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from explainers import engine
from explainers.analyzer import BackwardFitted, Fitted, grouped
from explainers.network import Head, Network
from explainers.rules.assign import Step


class Kindred:
    """Methods fitted to a model. Their programs serve the same methods on clones of it with other weights.

    That is so for what is a single backward pass, where a program is given every weight that it uses: a
    layer that is called as it is (attention, a normalisation over features) holds its own.
    """

    def __init__(self, fitted: Sequence[Fitted]) -> None:
        self._groups = grouped(fitted)
        self._programs: dict[int, Callable[..., Any]] = {}  # by place of the group

    def of(self, fitted: Sequence[Fitted]) -> list[Fitted]:
        """`fitted`, to be explained together by shared programs; those that these do not serve as they are.

        They are the same methods in the same order, fitted to the model or to a clone of it.
        """
        bound: dict[int, Fitted] = {}
        groups = grouped(fitted)
        for i, (ours, theirs) in enumerate(zip(self._groups, groups, strict=False)):
            if len(groups) == len(self._groups) and _alike(ours, theirs):
                net = ours[0].network
                if i not in self._programs:
                    self._programs[i] = engine.shared(net.program([member.head for member in ours]))
                bound |= zip(map(id, theirs), _by(self._programs[i], theirs), strict=True)
        return [bound.get(id(member), member) for member in fitted]


def _by(program: Callable[..., Any], members: Sequence[BackwardFitted]) -> list[BackwardFitted]:
    """The members of a group, explained together by `program`."""
    made = [copy.copy(member) for member in members]
    for member in made:
        member.head = replace(member.head, programs={})
    heads = [member.head for member in made]
    net = made[0].network
    net.lend(heads, functools.partial(program, net.weights_of(heads)))
    return made


def _alike(ours: Sequence[BackwardFitted], theirs: Sequence[BackwardFitted]) -> bool:
    """Whether a program for `ours` computes `theirs` when it is given their weights."""
    if len(ours) != len(theirs):
        return False
    same = all(
        a.analyzer == b.analyzer and not a.state and not b.state and _same_steps(a.head, b.head)
        for a, b in zip(ours, theirs, strict=True)
    )
    return same and _same_nodes(ours[0].network, theirs[0].network)


def _same_steps(ours: Head, theirs: Head) -> bool:
    """Whether the same rules meet the same nodes, and know the same of their values."""

    def told(step: Step) -> tuple[Any, ...]:
        return step.site.node.name, step.rule, step.site.non_negative, step.site.active

    return [told(step) for step in ours.steps] == [told(step) for step in theirs.steps]


def _same_nodes(ours: Network, theirs: Network) -> bool:
    """Whether nodes do the same with weights of the same shapes, all of which are given to a program.

    A clone's inputs may have other names.
    """

    def told(net: Network) -> list[tuple[Any, ...]]:
        graph = net.graph
        return [
            (
                "" if node.kind == "input" else node.name,
                node.kind,
                [graph.position(graph[name]) for name in node.inputs],
                node.shape,
                node.linear,
                [array.shape for array in node.arrays],
            )
            for node in graph
        ]

    given = not any(node.state or any(part.arrays for part in node.parts) for node in ours.graph)
    return given and ours.dtype == theirs.dtype and told(ours) == told(theirs)
