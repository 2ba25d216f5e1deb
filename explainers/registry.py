"""Methods by name. Every file in `explainers/methods/` registers its own; nothing else is touched."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from explainers import costs
from explainers.analyzer import Analyzer, Origin
from explainers.errors import InvalidParameter, UnknownMethod

Factory = Callable[..., Analyzer]


@dataclass(frozen=True)
class MethodInfo:
    """What a method is: family, paper, parameters, and what it needs besides the model.

    `stated`: its cost in words where they do not follow from its rules; `fitting`: what an estimate costs.
    """

    name: str
    family: str
    paper: str
    needs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    stated: str = ""
    fitting: str = ""

    @property
    def cost(self) -> str:
        """Forward passes per image, in words; of a method that is a preset by its rules."""
        return _cost(self)


_METHODS: dict[str, tuple[MethodInfo, Factory]] = {}
_ALIASES: dict[str, str] = {}
# For what does not depend on the model's input range: rules, costs, whether a model can be explained.
ANY_RANGE = {"low": 0.0, "high": 255.0}


def register(
    name: str,
    *,
    family: str,
    paper: str,
    cost: str = "",
    fitting: str = "",
    needs: Sequence[str] = (),
    aliases: Sequence[str] = (),
) -> Callable[[Factory], Factory]:
    """Register a factory (an Analyzer class or a function that makes one) under a name.

    `cost`: in words, for methods that are no preset or cross it more than once; `needs`: besides the
    parameters without a default.
    """

    def decorate(factory: Factory) -> Factory:
        signature = inspect.signature(factory).parameters
        parameters = tuple(key for key in signature if key != "origin")
        required = tuple(key for key in parameters if signature[key].default is inspect.Parameter.empty)
        info = MethodInfo(
            name, family, paper, (*required, *needs), parameters, required, tuple(aliases), cost, fitting
        )
        _METHODS[name] = (info, factory)
        _ALIASES.update(dict.fromkeys(aliases, name))
        return factory

    return decorate


@functools.cache
def _cost(info: MethodInfo) -> str:
    preset = None if info.stated else example(info.name).preset()
    words = info.stated if preset is None else costs.words(preset)
    return f"{words}; fitting: {info.fitting}" if info.fitting else words


def method_info(name: str) -> MethodInfo:
    """What a method is, by its name or an alias. Raises UnknownMethod."""
    return _registered(name)[0]


def _registered(name: str) -> tuple[MethodInfo, Factory]:
    _load()
    name = _ALIASES.get(name, name)
    if name not in _METHODS:
        raise UnknownMethod(name, [*_METHODS, *_ALIASES])
    return _METHODS[name]


def example(name: str, parameters: Mapping[str, Any] | None = None) -> Analyzer:
    """The method for a question that does not depend on the input range, which may then be left out."""
    required = method_info(name).required
    anything = {key: value for key, value in ANY_RANGE.items() if key in required}
    return create_analyzer(name, **anything | dict(parameters or {}))


def create_analyzer(name: str, /, **parameters: Any) -> Analyzer:
    """The method of that name with these hyper-parameters.

    Raises UnknownMethod, or InvalidParameter for a hyper-parameter that it does not take.
    """
    info, factory = _registered(name)
    name = info.name
    unknown = sorted(set(parameters) - set(info.parameters))
    if unknown:
        valid = ", ".join(info.parameters) or "none"
        raise InvalidParameter(f"method {name!r} takes no parameter {unknown[0]!r}; valid: {valid}")
    missing = [key for key in info.required if key not in parameters]
    if missing:
        raise InvalidParameter(
            f"method {name!r} needs the parameter {missing[0]!r}; valid: {', '.join(info.parameters)}"
        )
    defaults = {key: p.default for key, p in inspect.signature(factory).parameters.items()}
    every = {key: parameters.get(key, defaults[key]) for key in info.parameters}
    return replace(factory(**parameters).plain(), origin=Origin(name, every))


def list_methods() -> tuple[MethodInfo, ...]:
    """Every registered method, by name."""
    _load()
    return tuple(info for _, (info, _) in sorted(_METHODS.items()))


def _load() -> None:
    package = importlib.import_module("explainers.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"explainers.methods.{module.name}")
