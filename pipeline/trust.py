"""What may be executed for a model: said by a person on the command line of this call, never by a file.

A configuration, a run folder, a card or a ranking may come from a stranger. What they say about code is a
wish; :class:`Trust` is the permission. It is made from the options of one call, handed down to the model's
reader, and stored nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config_sections import ModelConfig
from pipeline.errors import InputError


@dataclass(frozen=True)
class Trust:
    """The permission of one call.

    Attributes:
        unsafe: ``--unsafe`` was given: Lambda layers, and functions that a file names, are run.
        functions: sources ``package.module:function`` that the command line itself names.
    """

    unsafe: bool = False
    functions: tuple[str, ...] = ()

    def check(self, config: ModelConfig) -> None:
        """Refuse a model section that asks for more. Raises :class:`InputError`."""
        if self.unsafe:
            return
        if is_function(config.source) and config.source not in self.functions:
            raise InputError(
                f"model {config.source!r}: a file names this function, and functions run only when the "
                "command line says so: give --unsafe if you trust who wrote the file"
            )
        if config.unsafe:
            raise InputError(
                f"model {config.source!r}: a file says unsafe = true, which counts only on the command line: "
                "give --unsafe if you trust who made the model, since that runs code from it"
            )

    def to_dict(self) -> dict[str, Any]:
        """For the parameters of a flow: on the way from a command line to the processes that work for it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trust:
        """The inverse of :meth:`to_dict`."""
        return cls(data["unsafe"], tuple(data["functions"]))


NOTHING = Trust()
_FUNCTION = re.compile(r"[\w.]+:\w+")


def is_function(source: str) -> bool:
    """Whether a model's source is ``package.module:function``, which is imported and called."""
    return _FUNCTION.fullmatch(source) is not None
