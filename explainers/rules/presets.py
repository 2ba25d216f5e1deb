"""Presets: ordered (condition, rule) pairs. Data, not subclasses; the first match wins.

A preset of one's own in five lines:

    from explainers import create_analyzer
    from explainers.rules import AlphaBeta, Epsilon, Flat
    from explainers.rules.presets import compose, structure
    mine = compose("mine", dense=Epsilon(0.1), conv=AlphaBeta(2, 1), first=Flat(), rest=structure())
    analyzer = create_analyzer("lrp", preset=mine)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from explainers.errors import InvalidParameter, UnsupportedLayer
from explainers.model.graph import Graph, Node
from explainers.model.kinds import CONVOLUTIONS, WEIGHTED, WEIGHTLESS
from explainers.rules.base import Rule
from explainers.rules.norm import Norm
from explainers.rules.weighted import Gradient
from explainers.rules.weightless import (
    Adjoint,
    Bilinear,
    ChainRule,
    Pass,
    Signal,
    SoftmaxTaylor,
    Split,
    Tokens,
    Winner,
)


class Condition(ABC):
    """A predicate of a node and the graph it stands in; combine with `&`, `|`, `~`."""

    @abstractmethod
    def __call__(self, node: Node, graph: Graph) -> bool:
        """Whether the node meets it."""

    def __and__(self, other: Predicate) -> Condition:
        return Both(self, other)

    def __or__(self, other: Predicate) -> Condition:
        return Either(self, other)

    def __invert__(self) -> Condition:
        return Not(self)


Predicate = Callable[[Node, Graph], bool]


@dataclass(frozen=True)
class Both(Condition):
    """Both conditions hold."""

    first: Predicate
    second: Predicate

    def __call__(self, node: Node, graph: Graph) -> bool:
        return self.first(node, graph) and self.second(node, graph)


@dataclass(frozen=True)
class Either(Condition):
    """At least one condition holds."""

    first: Predicate
    second: Predicate

    def __call__(self, node: Node, graph: Graph) -> bool:
        return self.first(node, graph) or self.second(node, graph)


@dataclass(frozen=True)
class Not(Condition):
    """The condition does not hold."""

    condition: Predicate

    def __call__(self, node: Node, graph: Graph) -> bool:
        return not self.condition(node, graph)


@dataclass(frozen=True)
class Everything(Condition):
    """Any node."""

    def __call__(self, node: Node, graph: Graph) -> bool:
        return True


@dataclass(frozen=True, init=False)
class Kinds(Condition):
    """The node is of one of these kinds."""

    kinds: tuple[str, ...]

    def __init__(self, *kinds: str):
        object.__setattr__(self, "kinds", kinds)

    def __repr__(self) -> str:
        return f"Kinds({', '.join(map(repr, self.kinds))})"

    def __call__(self, node: Node, graph: Graph) -> bool:
        return node.kind in self.kinds


@dataclass(frozen=True)
class Named(Condition):
    """The node's name matches a pattern such as `block1_*`."""

    pattern: str

    def __call__(self, node: Node, graph: Graph) -> bool:
        return fnmatchcase(node.name, self.pattern)


@dataclass(frozen=True)
class OfType(Condition):
    """The node comes from a layer of this class."""

    layer: type

    def __call__(self, node: Node, graph: Graph) -> bool:
        return isinstance(node.layer, self.layer)


@dataclass(frozen=True)
class InputLayer(Condition):
    """The node is a first real linear node: behind the input's rescaling, normalisation and padding."""

    def __call__(self, node: Node, graph: Graph) -> bool:
        return node.name in graph.first_linear


@dataclass(frozen=True)
class InputPart(Condition):
    """The node only prepares the input."""

    def __call__(self, node: Node, graph: Graph) -> bool:
        return node.name in graph.input_part


@dataclass(frozen=True)
class Until(Condition):
    """The node is a linear node on the way from the input to the named node, this one included."""

    name: str

    def __call__(self, node: Node, graph: Graph) -> bool:
        if self.name not in graph:
            names = ", ".join(n.name for n in graph if n.traits.weighted)
            raise InvalidParameter(f"flat_until: no node is named {self.name!r}; linear nodes: {names}")
        if not node.traits.weighted or node.name in graph.input_part:
            return False
        return node.name == self.name or node.name in graph.ancestors(graph[self.name])


@dataclass(frozen=True, init=False)
class Subgraph(Condition):
    """The node that stands for all nodes whose names match one of the patterns, collapsed into one."""

    patterns: tuple[str, ...]

    def __init__(self, *patterns: str):
        object.__setattr__(self, "patterns", patterns)

    def __repr__(self) -> str:
        return f"Subgraph({', '.join(map(repr, self.patterns))})"

    def __call__(self, node: Node, graph: Graph) -> bool:
        return node.kind == "subgraph" and node.note == " ".join(self.patterns)


CONV = Kinds(*CONVOLUTIONS)
DENSE = Kinds(*(kind for kind in WEIGHTED if kind not in CONVOLUTIONS))

Pair = tuple[Predicate, Rule]


@dataclass(frozen=True)
class Preset:
    """A name and its ordered (condition, rule) pairs."""

    name: str
    pairs: tuple[Pair, ...]

    def match(self, node: Node, graph: Graph) -> tuple[Rule, str]:
        """The rule for a node and why. Raises UnsupportedLayer when no pair matches."""
        for condition, rule in self.pairs:
            if condition(node, graph):
                return rule, getattr(condition, "__name__", None) or repr(condition)
        raise UnsupportedLayer(self.name, node.name, node.type, self.kinds(), node.note or None)

    def subgraphs(self) -> tuple[tuple[str, ...], ...]:
        """The patterns of the pairs that ask for a subgraph."""
        return tuple(condition.patterns for condition, _ in self.pairs if isinstance(condition, Subgraph))

    def kinds(self) -> tuple[str, ...]:
        """The kinds that some pair names."""
        named = [kind for condition, _ in self.pairs for kind in getattr(condition, "kinds", ())]
        return tuple(dict.fromkeys(named))

    def before(self, *pairs: Pair) -> Preset:
        """The preset with pairs placed in front: they win."""
        return Preset(self.name, (*pairs, *self.pairs))


def structure(eps: float = 1e-6, ties: str = "first") -> tuple[Pair, ...]:
    """The pairs for everything without weights, as LRP presets share them."""
    return (
        (Kinds("activation", "normalize", "identity"), Pass()),
        (Kinds("max_pool", "maximum", "minimum"), Winner(ties)),
        (Kinds("avg_pool", "add", "subtract", "average"), Norm(eps)),
        (Kinds("concat", "reshape", "pad", "crop", "slice", "upsample"), Adjoint()),
        (Kinds("multiply"), Split()),
        (Kinds("gated"), Signal()),
        (Kinds("embedding"), Tokens()),
        (Kinds("softmax"), SoftmaxTaylor()),
        (Kinds("matmul"), Bilinear(eps)),
    )


def compose(name: str, dense: Rule, conv: Rule, first: Rule, rest: tuple[Pair, ...]) -> Preset:
    """A preset by layer: `first` for the first linear nodes, then `conv`, `dense`, and `rest`."""
    prepare = (InputPart() & Kinds("scale"), Pass())
    return Preset(name, (prepare, (InputLayer(), first), (CONV, conv), (DENSE, dense), *rest))


def by_chain_rule(name: str, activation: Rule | None = None) -> Preset:
    """The gradient's preset; `activation` takes the place of the chain rule at activations."""
    gate = ((Kinds("activation"), activation),) if activation else ()
    return Preset(name, (*gate, (Kinds(*WEIGHTED), Gradient()), (Kinds(*WEIGHTLESS), ChainRule())))


GRADIENT = by_chain_rule("gradient")
