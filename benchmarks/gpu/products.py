"""How many floating-point operations the products of a pass are: counted while it runs, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from explainers import engine


class Count:
    """FLOP of the products so far; a multiplication and an addition are two."""

    def __init__(self) -> None:
        self.flop = 0

    def add(self, function: Any, a: Any, w: Any, result: Any) -> None:
        """One more product ``result`` = ``function(a, w)``."""
        if isinstance(function, partial) and function.func is keras.ops.einsum:
            self.flop += _of_einsum(function.args[0], a.shape, w.shape)
        else:  # a matrix product or a convolution: every output is made of as many weights as lead to it
            self.flop += 2 * math.prod(result.shape[:-1]) * math.prod(w.shape)


def _of_einsum(equation: str, *shapes: Any) -> int:
    sizes: dict[str, int] = {}
    for letters, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
        sizes |= dict(zip(letters, shape, strict=True))
    return 2 * math.prod(sizes.values())


@contextmanager
def counted() -> Iterator[Count]:
    """While it lasts, products that are traced or computed are counted.

    A transposed product that a framework derives counts once: where the framework computes the forward
    product for it as well, that is its own waste.
    """
    count, multiply = Count(), engine.multiply

    def counting(function: Callable[[Any, Any], Any], a: Any, w: Any) -> Any:
        result = multiply(function, a, w)
        count.add(function, a, w, result)
        return result

    engine.multiply = counting
    try:
        yield count
    finally:
        engine.multiply = multiply
