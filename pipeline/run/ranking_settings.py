"""Which settings and which method a run ranks its classes by, and what other settings differ in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from pipeline.config import parse_config
from pipeline.config_sections import MethodConfig, RankingConfig
from pipeline.run.folder import RankingFiles

_LONGEST: Final = 80  # characters of a slug; a file name has 255 at most, and people read them


def own_settings(manifest: Mapping[str, Any]) -> RankingConfig:
    """The ranking settings that the run was made with. Raises :class:`pipeline.config.ConfigError`."""
    return read_settings(manifest["config"].get("ranking", {}), "manifest of the run")


def read_settings(stored: Mapping[str, Any], where: str) -> RankingConfig:
    """Stored ranking settings; what is not said has its default. Raises :class:`~.config.ConfigError`."""
    return parse_config({"ranking": dict(stored)}, where).ranking


def ranking_method(manifest: Mapping[str, Any], settings: RankingConfig | None = None) -> str:
    """Key of the method that ``settings`` (the run's own if None) rank by: the named one, else the first."""
    settings = settings or own_settings(manifest)
    return settings.method or MethodConfig.model_validate(manifest["config"]["methods"][0]).key


def differing_settings(manifest: Mapping[str, Any], settings: RankingConfig) -> dict[str, tuple[Any, Any]]:
    """Setting -> (value in ``settings``, the run's own), of those that differ.

    Methods are compared by what they name: not naming any is naming the first.
    """
    here, own = settings.model_dump(), own_settings(manifest).model_dump()
    here["method"] = ranking_method(manifest, settings)
    own["method"] = ranking_method(manifest)
    return {name: (here[name], own[name]) for name in here if here[name] != own[name]}


def ranking_files(manifest: Mapping[str, Any], settings: RankingConfig) -> RankingFiles:
    """Where a ranking by ``settings`` is stored: the run's own in its place, any other beside it."""
    slug = _slug(differing_settings(manifest, settings))
    return RankingFiles().beside(slug) if slug else RankingFiles()


def _slug(differing: Mapping[str, tuple[Any, Any]]) -> str:
    """What differs, fit for a file name.

    Where that cannot be said in plain characters, or only at length, a hash keeps two of them apart.

    >>> _slug({"images": ("all", "correct"), "draws": (100, 2000)})
    'images-all-draws-100'
    """
    said = "-".join(f"{name}-{value}" for name, (value, _) in differing.items())
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", said).strip("_")
    if plain == said and len(said) <= _LONGEST:
        return said
    return f"{plain[:_LONGEST]}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
