"""Which card goes with a model file, and what of it nobody stated. Light: loads no framework."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipeline.config_sections import ModelConfig
from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard, card_data, card_from_dict
from pipeline.toml import read_toml

CARDS: Final = Path(__file__).parent / "cards"  # cards of known files, recognised by their sha256
_PREPARATION: Final = ("resize", "channel_order", "scale", "mean", "std")  # fields that decide the pixels


@dataclass(frozen=True)
class FoundCard:
    """A card, where it comes from in words, and the fields that it states itself (None: all of them).

    ``shipped``: it comes with this package, for a network of ImageNet whose classes have their usual order.
    """

    card: ModelCard
    origin: str
    stated: frozenset[str] | None = None
    shipped: bool = False

    def states(self, field: str) -> bool:
        """Whether ``field`` is no default."""
        return self.stated is None or field in self.stated

    @property
    def decisions(self) -> tuple[str, ...]:
        """What was decided by default or by guess, a sentence each."""
        values = self.card.to_dict()
        open_ = [f"{name} {_plain(values[name])}" for name in _PREPARATION if not self.states(name)]
        left = (f"the model card does not say, so by default: {', '.join(open_)}",) if open_ else ()
        return (f"model card: {self.origin}", *left)


def find_card(config: ModelConfig, path: Path, digest: str = "") -> FoundCard:
    """The card of the model file ``path``: the one that is named, beside it, or known by its sha256.

    ``digest``: that sha256, where it is known already.
    Raises :class:`InputError` where there is none or it cannot be used.
    """
    beside = path.with_suffix(".toml")
    if config.card:
        return read_card(config.card)
    if beside.is_file():
        return _found(card_data(beside), f"{beside.name}, beside the model file", str(beside))
    digest = digest or file_sha256(path)
    for file in sorted(CARDS.glob("*.toml")):
        if (data := read_toml(file, "model card"))["sha256"] == digest:
            origin = "comes with hansaudit, which knows the file by its sha256"
            return replace(_found(data, origin, file.name), shipped=True)
    raise InputError(
        f"{path}: no model card: its input geometry and preprocessing are unknown; write them to "
        f"{beside.name} beside it, or give --card (the README shows one)"
    )


def read_card(path: str) -> FoundCard:
    """The card that the user names. Raises :class:`InputError` when it cannot be used."""
    return _found(card_data(path), path, path)


def _found(data: dict[str, Any], origin: str, where: str) -> FoundCard:
    return FoundCard(card_from_dict(data, where), origin, frozenset(data))


def file_sha256(path: str | Path) -> str:
    """sha256 of a file, hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(partial(file.read, 1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(f"{v:g}" for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
