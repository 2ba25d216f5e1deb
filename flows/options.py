"""From command-line options and a TOML file to one validated configuration; options win."""

from __future__ import annotations

import re
from typing import Any

from pipeline.config import Config, ConfigError, parse_method, parse_named
from pipeline.toml import read_toml
from pipeline.trust import Trust, is_function

GROUP = "Where images come from: a column of the CSV, else a feature of a TFDS dataset. Default: group."
TIME = "How long it may take, such as 90s, 30m or 2h: budgets of images are chosen that fit."
LOG_JSON = "Progress and errors as JSON, an object per line, on standard error."
METRICS_FILE = "Keep a text file for Prometheus (node_exporter's textfile collector; name it *.prom)."
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}


def named_here(config: Config, address: str | None) -> Config:
    """``config``, if its cluster is the one that the command line names.

    Flow and workers send each other objects that run code when they are read, so a file alone must not say
    where to. Raises :class:`ConfigError`.
    """
    wanted = config.execution.address
    if wanted and wanted != address:
        raise ConfigError(
            f"execution.address = {wanted!r}: a cluster runs code here and there, so a file alone cannot "
            f"name it; say --address {wanted} if it is yours"
        )
    return config


class Settings:
    """A configuration in the making: the TOML's tables, with options laid over them."""

    def __init__(self, toml: str | None) -> None:
        self._where = toml or "options"
        self._data: dict[str, Any] = read_toml(toml, "configuration", ConfigError) if toml else {}

    def set(self, section: str, **values: Any) -> None:
        """Lay the values that are not None over a section."""
        given = {name: value for name, value in values.items() if value is not None}
        if not given:
            return
        table = self._data.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{self._where}: {section}: expected a table, received {table!r}")
        table.update(given)

    def dataset(self, text: str | None, annotations: str | None) -> None:
        """``--dataset``: a prepared dataset, an image folder, ``planted``, or a catalog name."""
        if text is None:
            self.set("dataset", annotations=annotations)
            return
        from pipeline.inputs.datasets import INFO_FILE, section_of
        from pipeline.inputs.objects.places import place

        if annotations is None:
            section = section_of(text)
        elif (place(text) / INFO_FILE).is_file():
            section = section_of(text) | {"annotations": annotations}
        else:
            section = {"source": "folder", "path": text, "annotations": annotations}
        # another source makes the file's own paths and names meaningless, a split or limit not
        kept = {k: v for k, v in self._data.get("dataset", {}).items() if k in ("split", "limit")}
        self._data["dataset"] = kept | section

    def methods(self, texts: list[str] | None) -> None:
        """``--method``, repeated; replaces the file's list."""
        if texts:
            self._data["methods"] = [parse_method(text).model_dump() for text in texts]

    def curves(self, wanted: bool | None, budget: int | None) -> None:
        """``--curves``, ``--no-curves`` and ``--budget``, which asks for them as well."""
        section = self._data.get("perturbation")
        if wanted is False:
            self._data["perturbation"] = False
        elif budget is not None or (wanted and not isinstance(section, dict)):
            if not isinstance(section, dict):
                self._data["perturbation"] = {}
            self.set("perturbation", budget=budget)

    def config(self) -> Config:
        """The validated whole.

        Raises:
            ConfigError: one line per fault, and for what nobody named. InputError: no such dataset source.
        """
        from pipeline.inputs.datasets import get_source

        config = parse_named(self._data, self._where)
        get_source(config.dataset.source)
        return config


def seconds(text: str | None) -> float | None:
    """``90s``, ``30m``, ``1.5h`` in seconds. Raises ConfigError for anything else.

    >>> seconds("1.5h")
    5400.0
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) ?(s|m|min|h)", text.strip())
    if not match or not float(match[1]):
        raise ConfigError(f"--time {text!r}: expected a number with s, m or h, such as 90s, 30m or 2h")
    return float(match[1]) * _UNITS[match[2]]


def listed(text: str | None) -> list[str] | None:
    """Comma-separated words."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def trust(unsafe: bool, *models: str | None) -> Trust:
    """What this command line permits: ``--unsafe``, and the functions that ``--model`` itself names."""
    return Trust(unsafe, tuple(source for source in models if source and is_function(source)))
