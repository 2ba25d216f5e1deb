"""A method's map as a differentiable function: of the inputs and, on request, of the model's own weights.

What a penalty on explanations needs (Ross, Hughes, Doshi-Velez 2017, "Right for the right reasons",
arXiv:1703.03717): the derivative of a map by the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from keras import ops

from explainers.engine import Tensor
from explainers.errors import InvalidInput
from explainers.model.canonize import canonize
from explainers.model.decomposition import Decomposition
from explainers.model.evaluate import evaluate_all, own_weights
from explainers.model.graph import Graph
from explainers.model.live import as_tensor, live_weights
from explainers.model.subgraph import collapse
from explainers.model.trace import trace
from explainers.network import Head, Network
from explainers.rules.assign import Step, assign
from explainers.rules.presets import Preset
from explainers.targets import start_of


class MapFunction:
    """Inputs -> relevance, in the engine's own tensors; nothing is checked, converted or left out.

    With `live` weights they are read from the model at every call, so that the map can be differentiated by
    its variables: canonised and derived anew, which in a compiled training step happens once.
    """

    def __init__(self, net: Network, preset: Preset, head: Head, live: bool, how: Decomposition) -> None:
        self.network, self.preset, self.head, self.live, self.how = net, preset, head, live, how

    def __call__(self, x: Any, target: Any = None) -> Tensor:
        """The map of a batch, in the shape of the explained input.

        `x`: a tensor, or one per input in the model's order. `target`: None for the predicted class, a class,
        a tensor of one per image, or a function of the output b k -> b that is explained itself.
        """
        graph, head, weights = self._live() if self.live else self._bound()
        inputs = tuple(x) if isinstance(x, (tuple, list)) else (x,)
        if len(inputs) != len(graph.inputs):
            raise InvalidInput(f"the model has {len(graph.inputs)} inputs, received {len(inputs)}")
        tensors = [ops.cast(ops.convert_to_tensor(value), self.network.dtype) for value in inputs]
        record = evaluate_all(graph, dict(zip(graph.inputs, tensors, strict=True)), weights)
        output = record[graph.output]
        classes = ops.argmax(output, axis=-1) if target is None or callable(target) else target
        classes = ops.broadcast_to(ops.cast(classes, "int32"), ops.shape(output)[:1])
        chosen = start_of(target if callable(target) else None, output, classes)
        return head.relevance(graph, head.constants, record, chosen, False)[0]

    def _bound(self) -> tuple[Graph, Head, Mapping[str, Any]]:
        return self.network.graph, self.head, self.network.weights

    def _live(self) -> tuple[Graph, Head, Mapping[str, Any]]:
        """Graph, backward pass and weights, made of the model's variables as they are."""
        bound = self.network.graph
        with live_weights():
            graph = canonize(trace(bound.model, bound.output_index, bound.explained), self.how)
        for patterns in self.preset.subgraphs():
            graph = collapse(graph, patterns)
        weights = {n.name: own_weights(n, self.network.dtype) for n in graph if n.linear is not None}
        boxes = {step.site.node.name: step.site for step in self.head.steps}
        steps, constants = [], {}
        for step in assign(self.preset, graph):
            node, box = step.site.node, boxes[step.site.node.name]
            step = Step(replace(step.site, low=box.low, high=box.high), step.rule, step.why)
            made = {k: as_tensor(v, self.network.dtype) for k, v in step.rule.constants(step.site).items()}
            if node.bias is not None:
                made["bias"] = weights[node.name]["bias"]
            steps.append(step)
            constants[node.name] = made
        return graph, replace(self.head, steps=tuple(steps), constants=constants, programs={}), weights
