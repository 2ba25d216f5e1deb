"""LRP as it is usually written: a walk over Keras layers with TensorFlow's own gradients, in any precision.

Nothing of `explainers` is used. Every rule is the paper's formula, every sum is computed as that sum. It
tells how far float32 may be from float64: rounding grows with the network, whoever computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Transpose = Callable[[Any, Any], Any]
EPS = 1e-6


class Plain:
    """A Functional model of convolutions, BatchNorm, activations, pooling, Add and Concatenate in `dtype`."""

    def __init__(self, model: keras.Model, dtype: str):
        self.dtype, self.layers = dtype, [la for la in model.layers if type(la).__name__ != "InputLayer"]
        self.source = {
            la.name: [t._keras_history.operation.name for t in la._inbound_nodes[0].arguments.keras_tensors]
            for la in self.layers
        }
        self.input = model.input._keras_history.operation.name
        last = self.layers[-1]
        if type(last).__name__ in ("Softmax", "Activation"):
            self.layers.pop()
        self.weights = {la.name: self._folded(la) for la in self.layers if hasattr(la, "kernel")}
        self.first = next(iter(self.weights))
        self.norms = {la.name for la in self.layers if type(la).__name__ == "BatchNormalization"}

    def _folded(self, layer: Any) -> tuple[Any, Any]:
        """Kernel and bias with the BatchNorm behind the layer, in float64 first."""
        w = np.asarray(layer.kernel, np.float64)
        b = np.asarray(layer.bias, np.float64) if layer.bias is not None else np.zeros(())
        for norm in self.layers:
            if type(norm).__name__ == "BatchNormalization" and self.source[norm.name] == [layer.name]:
                gamma, beta, mean, var = (np.asarray(v, np.float64) for v in norm.get_weights())
                g = gamma / np.sqrt(var + norm.epsilon)
                w = w * (g[:, None] if "Depthwise" in type(layer).__name__ else g)
                b = (b - mean) * g + beta
        return tf.constant(w, self.dtype), tf.constant(b, self.dtype)

    def operator(self, layer: Any) -> Callable[[Any, Any], Any]:
        kind = type(layer).__name__
        if kind == "Dense":
            return tf.matmul
        pad, (sy, sx) = layer.padding.upper(), layer.strides
        if kind == "DepthwiseConv2D":
            return lambda a, w: tf.nn.depthwise_conv2d(a, w, (1, sy, sx, 1), pad)
        return lambda a, w: tf.nn.conv2d(a, w, (1, sy, sx, 1), pad)

    def forward(self, x: np.ndarray) -> dict[str, Any]:
        values = {self.input: tf.constant(x, self.dtype)}
        for layer in self.layers:
            inputs = [values[name] for name in self.source[layer.name]]
            if layer.name in self.weights:
                w, b = self.weights[layer.name]
                z = self.operator(layer)(inputs[0], w) + b
                values[layer.name + "/z"] = z
                values[layer.name] = layer.activation(z)
            elif layer.name in self.norms or type(layer).__name__ == "Dropout":
                values[layer.name] = inputs[0]
            else:
                values[layer.name] = self.call(layer, inputs)
        return values

    @staticmethod
    def call(layer: Any, inputs: list[Any]) -> Any:
        kind = type(layer).__name__
        if kind == "Add":
            return sum(inputs)
        if kind == "Concatenate":
            return tf.concat(inputs, -1)
        if kind == "GlobalAveragePooling2D":
            return tf.reduce_mean(inputs[0], (1, 2))
        if kind == "MaxPooling2D":
            return tf.nn.max_pool2d(inputs[0], layer.pool_size, layer.strides, layer.padding.upper())
        if kind == "Flatten":
            return tf.reshape(inputs[0], (len(inputs[0]), -1))
        if kind == "ReLU":
            top = np.inf if layer.max_value is None else layer.max_value
            return tf.clip_by_value(inputs[0], 0, tf.cast(top, inputs[0].dtype))
        raise NotImplementedError(kind)

    def relevance(self, x: np.ndarray, rule: Callable[[bool, bool], str], target: np.ndarray) -> np.ndarray:
        """By `rule(first, dense)`, the name of a rule, from the target's logit; "gradient": from 1."""
        values = self.forward(x)
        end = self.layers[-1].name
        chosen = tf.one_hot(target, values[end].shape[-1], dtype=self.dtype)
        gradient = rule(False, False) == "gradient"
        given = {end: chosen if gradient else chosen * values[end]}
        for layer in reversed(self.layers):
            R, kind = given.pop(layer.name), type(layer).__name__
            inputs = [values[name] for name in self.source[layer.name]]
            if layer.name in self.weights:
                name = rule(layer.name == self.first, kind == "Dense")
                z = values[layer.name + "/z"]
                if gradient:
                    R = _transposed(layer.activation, z, R)
                f, (w, b) = self.operator(layer), self.weights[layer.name]
                back = lambda s, k, f=f, a=inputs[0]: _transposed(lambda v: f(v, k), a, s)  # noqa: E731
                parts = [RULES[name](f, back, inputs[0], w, b, z, R)]
            elif layer.name in self.norms or kind == "Dropout" or (kind == "ReLU" and not gradient):
                parts = [R]
            elif kind in ("Add", "GlobalAveragePooling2D") and not gradient:
                count = float(np.prod(inputs[0].shape[1:3])) if kind != "Add" else 1.0
                ratio = R / _stab(values[layer.name] * count)
                parts = [a * (ratio if kind == "Add" else ratio[:, None, None]) for a in inputs]
            else:
                with tf.GradientTape() as tape:
                    tape.watch(inputs)
                    value = self.call(layer, inputs)
                parts = tape.gradient(value, inputs, output_gradients=R)
            for name, part in zip(self.source[layer.name], parts, strict=True):
                given[name] = given[name] + part if name in given else part
        return given[self.input].numpy()


def _transposed(f: Callable[[Any], Any], a: Any, s: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(a)
        value = f(a)
    return tape.gradient(value, a, output_gradients=tf.broadcast_to(s, value.shape))


def _stab(z: Any) -> Any:
    return tf.where(z >= 0, z + EPS, z - EPS)


def _quotient(R: Any, z: Any) -> Any:
    return tf.math.divide_no_nan(R, z)


def _epsilon(f: Any, back: Transpose, a: Any, w: Any, b: Any, z: Any, R: Any) -> Any:
    return a * back(R / _stab(z), w)


def _zero(f: Any, back: Transpose, a: Any, w: Any, b: Any, z: Any, R: Any) -> Any:
    return a * back(_quotient(R, z), w)


def _gradient(f: Any, back: Transpose, a: Any, w: Any, b: Any, z: Any, R: Any) -> Any:
    return back(R, w)


def _alpha_beta(alpha: float, bias: bool = True) -> Callable[..., Any]:
    def rule(f: Any, back: Transpose, a: Any, w: Any, b: Any, z: Any, R: Any) -> Any:
        up, down, plus, minus = tf.nn.relu(a), tf.nn.relu(-a), tf.nn.relu(w), tf.nn.relu(-w)
        s = _quotient(R, f(up, plus) + f(down, minus) + (tf.nn.relu(b) if bias else 0))
        total = alpha * (up * back(s, plus) + down * back(s, minus))
        if alpha > 1:
            s = _quotient(R, f(up, minus) + f(down, plus) + (tf.nn.relu(-b) if bias else 0))
            total -= (alpha - 1) * (up * back(s, minus) + down * back(s, plus))
        return total

    return rule


def _gamma(f: Any, back: Transpose, a: Any, w: Any, b: Any, z: Any, R: Any) -> Any:
    gamma = 0.25
    up, down = tf.nn.relu(a), -tf.nn.relu(-a)
    total: Any = 0.0
    for own, positive in ((tf.nn.relu, True), (lambda v: -tf.nn.relu(-v), False)):
        other = (lambda v: -tf.nn.relu(-v)) if positive else tf.nn.relu
        k, m = w + gamma * own(w), w + gamma * other(w)
        summed = f(up, k) + f(down, m) + b + gamma * own(b)
        s = tf.where((z >= 0) == positive, R / _stab(summed), tf.zeros_like(R))
        total += up * back(s, k) + down * back(s, m)
    return total


def _by_weight(of: Callable[[Any], Any]) -> Callable[..., Any]:
    def rule(f: Any, back: Transpose, a: Any, w: Any, b: Any, z: Any, R: Any) -> Any:
        return back(_quotient(R, f(tf.ones_like(a), of(w))), of(w))

    return rule


RULES: dict[str, Callable[..., Any]] = {
    "epsilon": _epsilon,
    "zero": _zero,
    "gradient": _gradient,
    "alpha_1_beta_0": _alpha_beta(1.0),
    "alpha_2_beta_1": _alpha_beta(2.0),
    "z_plus": _alpha_beta(1.0, bias=False),
    "gamma": _gamma,
    "w_square": _by_weight(tf.square),
    "flat": _by_weight(tf.ones_like),
}

# Method of `explainers` -> rule by (first linear layer, dense).
METHODS: dict[str, Callable[[bool, bool], str]] = {
    **{f"lrp.{name}": (lambda first, dense, name=name: name) for name in RULES if name != "gradient"},
    "gradient": lambda first, dense: "gradient",
    "lrp.preset_a": lambda first, dense: "epsilon" if dense else "alpha_1_beta_0",
    "lrp.preset_b": lambda first, dense: "epsilon" if dense else "alpha_2_beta_1",
    "lrp.preset_a_flat": lambda first, dense: "flat" if first else "epsilon" if dense else "alpha_1_beta_0",
    "lrp.preset_b_flat": lambda first, dense: "flat" if first else "epsilon" if dense else "alpha_2_beta_1",
}
