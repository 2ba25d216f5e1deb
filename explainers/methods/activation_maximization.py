"""Activation maximisation: pictures for which a class, or a channel of a layer, answers most.

Erhan, Bengio, Courville, Vincent 2009, "Visualizing higher-layer features of a deep network", section 3;
of classes Simonyan, Vedaldi, Zisserman 2014 (arXiv:1312.6034), section 2. What keeps the pictures from
being noise: total variation (Mahendran, Vedaldi 2015, arXiv:1412.0035, section 3), jitter (Mordvintsev,
Olah, Tyka 2015) and colours and spectra of natural pictures (Olah, Mordvintsev, Schubert 2017, "Feature
visualization", doi:10.23915/distill.00007). It explains no image, so it is no analyzer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from explainers import checks, engine
from explainers.engine import Tensor
from explainers.errors import InvalidParameter
from explainers.network import Network, network

Floats = NDArray[np.float64]
OnHost = Callable[[Floats], Floats]


class Maximized(NamedTuple):
    """What a unit wants to see.

    `pictures` n h w c, in the model's (preprocessed) input space; `activation` steps + 1 n: the unit's
    value on them, without jitter, before the first step and after each.
    """

    pictures: np.ndarray
    activation: np.ndarray


@dataclass(frozen=True)
class ActivationMaximization:
    """Gradient ascent on a picture, from noise.

    The picture is `low + (high - low) sigmoid(u)`, so it stays inside the model's input range. `u` is noise
    whose spectrum falls with frequency ** `frequency`, and steps are scaled in the same way: 0 treats all
    frequencies alike, 1 is what natural pictures have. Steps are Adam's (Kingma, Ba 2015).

    Attributes:
        low, high: the input range, numbers or one per channel.
        steps: gradient steps.
        rate: Adam's step, in units of u.
        jitter: pixels by which the picture is moved at random in each step, at most.
        total_variation: weight of the mean difference of neighbouring pixels (in shares of the range).
        norm: weight of the mean square of u (Simonyan et al.): it keeps colours from the range's ends.
            Both weights are relative to the size of the activation's gradient; 0: none.
        colours: start from, and step in, colours as they go together in natural pictures: mostly grey, least
            of all green against red and blue (Olah et al., "decorrelated"). For inputs of three channels.
        frequency: exponent.
        seed: of the noise and the jitter.
    """

    low: checks.Numbers
    high: checks.Numbers
    steps: int = 256
    rate: float = 0.05
    jitter: int = 8
    total_variation: float = 0.1
    norm: float = 0.2
    frequency: float = 1.0
    colours: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = checks.span(self.low, self.high)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        checks.whole("steps", self.steps)
        checks.between("rate", self.rate, 0, np.inf, open_low=True)
        checks.whole("jitter", self.jitter, 0)
        checks.between("total_variation", self.total_variation, 0, np.inf)
        checks.between("norm", self.norm, 0, np.inf)
        checks.between("frequency", self.frequency, 0, 4)
        checks.whole("seed", self.seed, 0)

    def of_class(self, model: Any, target: int, n: int = 1) -> Maximized:
        """`n` pictures with a high logit of the class `target`.

        Raises InvalidParameter for a class that there is not; ExplainError for a model without a graph.
        """
        net = network(model)
        return self._ascend(net, net.graph.output, target, n)

    def of_channel(self, model: Any, layer: str, channel: int, n: int = 1) -> Maximized:
        """`n` pictures for which a channel of `layer`, before its activation function, is high in the mean
        over all places.

        Raises InvalidParameter for a layer or channel that there is not; ExplainError as above.
        """
        net = network(model)
        return self._ascend(net, _node_of(net, layer), channel, n)

    def _ascend(self, net: Network, node: str, unit: int, n: int) -> Maximized:
        height, width, channels = _shape(net)
        units = int(net.graph[node].shape[-1] or 0)
        if not 0 <= unit < units:
            raise InvalidParameter(f"unit {unit} of {node!r} is out of range; valid: 0 to {units - 1}")
        low, high = (
            checks.per_channel(name, value, channels)
            for name, value in (("low", self.low), ("high", self.high))
        )
        prior = _Prior(spectrum(height, width, self.frequency), self._mixing(channels))
        adam = _Adam(self.rate)
        rng = np.random.default_rng(self.seed)
        slope, value = _programs(net, node, unit)
        parameters = rng.normal(0, 1, (checks.whole("n", n), height, width, channels))
        u = prior.apply(parameters)
        squashed = _sigmoid(u)
        activation = [value(low + (high - low) * squashed)]
        for _ in range(self.steps):
            y, x = rng.integers(-self.jitter, self.jitter + 1, 2)
            moved = np.roll(low + (high - low) * squashed, (y, x), axis=(1, 2))
            upwards = np.roll(slope(moved), (-y, -x), axis=(1, 2)) * (high - low)
            upwards -= self.total_variation * _size(upwards) * total_variation_slope(squashed)
            upwards *= squashed * (1 - squashed)
            upwards -= self.norm * _size(upwards) * u
            parameters = adam.ascend(parameters, prior.adjoint(upwards))
            u = prior.apply(parameters)
            squashed = _sigmoid(u)
            activation.append(value(low + (high - low) * squashed))
        return Maximized((low + (high - low) * squashed).astype(net.dtype), np.array(activation))

    def _mixing(self, channels: int) -> Floats:
        """(c, c): columns are what the parameters' channels are in the picture."""
        return NATURAL if self.colours and channels == 3 else np.eye(channels)


# square root of the covariance of ImageNet's colours, over its largest column (Olah et al. 2017); reversing
# red and blue only changes a sign
NATURAL = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]]) / 0.462


@dataclass(frozen=True)
class _Prior:
    """From parameters to u: a linear map, its spectrum `scale` h w and its colours `mixing` c c."""

    scale: Floats
    mixing: Floats

    def apply(self, parameters: Floats) -> Floats:
        return filtered(parameters, self.scale) @ self.mixing.T

    def adjoint(self, slope: Floats) -> Floats:
        return filtered(slope @ self.mixing, self.scale)


def spectrum(height: int, width: int, exponent: float) -> Floats:
    """What each frequency of a picture is multiplied by, `h w`: 1 / f ** exponent with root mean square 1."""
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    scale = 1 / np.maximum(f, 1 / max(height, width)) ** exponent
    return scale / np.sqrt((scale**2).mean())


def filtered(pictures: Floats, scale: Floats) -> Floats:
    """`n h w c` with every frequency multiplied by its `scale`.

    The scale is real and the same for f and -f, so this is a symmetric linear map: its own adjoint.
    """
    return np.fft.ifft2(np.fft.fft2(pictures, axes=(1, 2)) * scale[..., None], axes=(1, 2)).real


def total_variation(pictures: Floats) -> Floats:
    """Mean size of the difference to the next pixel below and to the right, `n`; smooth around 0."""
    down, right = _differences(pictures)
    return np.sqrt(down**2 + right**2 + 1e-6).mean(axis=(1, 2, 3))


def total_variation_slope(pictures: Floats) -> Floats:
    """Derivative of :func:`total_variation` by each pixel, over its mean size: `n h w c`."""
    down, right = _differences(pictures)
    size = np.sqrt(down**2 + right**2 + 1e-6)
    down, right = down / size, right / size
    slope = -(down + right)
    slope[:, 1:] += down[:, :-1]
    slope[:, :, 1:] += right[:, :, :-1]
    return slope / _size(slope)


def _differences(pictures: Floats) -> tuple[Floats, Floats]:
    down, right = np.zeros_like(pictures), np.zeros_like(pictures)
    down[:, :-1] = pictures[:, 1:] - pictures[:, :-1]
    right[:, :, :-1] = pictures[:, :, 1:] - pictures[:, :, :-1]
    return down, right


def _size(values: Floats) -> Floats:
    """Mean size per picture, `n 1 1 1`; never 0."""
    return np.maximum(np.abs(values).mean(axis=(1, 2, 3), keepdims=True), 1e-30)


def _sigmoid(u: Floats) -> Floats:
    return 1 / (1 + np.exp(-u))


def _shape(net: Network) -> tuple[int, int, int]:
    """Height, width and channels of the picture that goes in."""
    shape = net.graph[net.graph.explained].shape
    sizes = tuple(size for size in shape[1:] if size is not None)
    if len(shape) != 4 or len(sizes) != 3 or len(net.graph.inputs) > 1:
        raise InvalidParameter(
            f"the model's input has shape {shape}; valid: one input of pictures of a fixed size, b h w c"
        )
    return sizes[0], sizes[1], sizes[2]


def _node_of(net: Network, layer: str) -> str:
    """The node of a layer's last call, before its activation function: a unit that is off has no slope."""
    nodes = [node for node in net.graph if getattr(node.layer, "name", None) == layer]
    if not nodes:
        names = dict.fromkeys(str(node.layer.name) for node in net.graph if node.layer is not None)
        raise InvalidParameter(f"layer {layer!r}: there is no such layer; layers: {', '.join(names)}")
    return ([node for node in nodes if node.linear is not None] or nodes)[-1].name


def _programs(net: Network, node: str, unit: int) -> tuple[OnHost, OnHost]:
    """The slope of the unit by the picture, and its value."""

    def value(weights: Any, x: Tensor) -> Tensor:
        out = net.record(weights, (x,))[node][..., unit]
        return ops.mean(ops.reshape(out, (ops.shape(out)[0], -1)), axis=1)

    def slope(weights: Any, x: Tensor) -> Tensor:
        ones = ops.ones_like(x[:, 0, 0, 0])
        return engine.vjp(lambda inputs: value(weights, inputs), (x,), ones)[0]

    def on_host(function: Callable[..., Tensor]) -> OnHost:
        program = engine.compile(function, net.weights)
        return lambda x: np.asarray(ops.convert_to_numpy(program(*net.tensors((x,)))), np.float64)

    return on_host(slope), on_host(value)


class _Adam:
    """Adam (Kingma, Ba 2015, algorithm 1), upwards."""

    def __init__(self, rate: float) -> None:
        self.rate, self.t = rate, 0
        self.mean: Any = 0.0
        self.square: Any = 0.0

    def ascend(self, parameters: Floats, slope: Floats) -> Floats:
        self.t += 1
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope**2
        mean, square = self.mean / (1 - 0.9**self.t), self.square / (1 - 0.999**self.t)
        return np.asarray(parameters + self.rate * mean / (np.sqrt(square) + 1e-12))
