"""Methods by name. Every file in `explainers/methods/` registers its own; nothing else is touched."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from explainers.analyzer import Analyzer
from explainers.errors import InvalidParameter, UnknownMethod

Factory = Callable[..., Analyzer]


@dataclass(frozen=True)
class MethodInfo:
    """What a method is: family, paper, cost in forward passes (words), and what it needs."""

    name: str
    family: str
    paper: str
    cost: str
    needs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


_METHODS: dict[str, tuple[MethodInfo, Factory]] = {}
_ALIASES: dict[str, str] = {}


def register(
    name: str, *, family: str, paper: str, cost: str, needs: Sequence[str] = (), aliases: Sequence[str] = ()
) -> Callable[[Factory], Factory]:  # fmt: skip
    """Register a factory (an Analyzer class or a function that makes one) under a name."""

    def decorate(factory: Factory) -> Factory:
        signature = inspect.signature(factory).parameters
        required = tuple(key for key, p in signature.items() if p.default is p.empty)
        info = MethodInfo(name, family, paper, cost, tuple(needs), tuple(signature), required, tuple(aliases))
        _METHODS[name] = (info, factory)
        _ALIASES.update(dict.fromkeys(aliases, name))
        return factory

    return decorate


def create_analyzer(name: str, /, **parameters: Any) -> Analyzer:
    """The method of that name with these hyper-parameters.

    Raises UnknownMethod, or InvalidParameter for a hyper-parameter that it does not take.
    """
    _load()
    name = _ALIASES.get(name, name)
    if name not in _METHODS:
        raise UnknownMethod(name, [*_METHODS, *_ALIASES])
    info, factory = _METHODS[name]
    unknown = sorted(set(parameters) - set(info.parameters))
    if unknown:
        valid = ", ".join(info.parameters) or "none"
        raise InvalidParameter(f"method {name!r} takes no parameter {unknown[0]!r}; valid: {valid}")
    missing = [key for key in info.required if key not in parameters]
    if missing:
        raise InvalidParameter(
            f"method {name!r} needs the parameter {missing[0]!r}; valid: {', '.join(info.parameters)}"
        )
    made = factory(**parameters)
    bound = inspect.signature(factory).bind(**parameters)
    bound.apply_defaults()
    object.__setattr__(made, "origin", (name, dict(bound.arguments)))  # what saving.to_config writes down
    return made


def list_methods() -> tuple[MethodInfo, ...]:
    """Every registered method, by name."""
    _load()
    return tuple(info for _, (info, _) in sorted(_METHODS.items()))


def _load() -> None:
    package = importlib.import_module("explainers.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"explainers.methods.{module.name}")
