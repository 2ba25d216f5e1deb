"""One validated configuration of a run: TOML or Python in, canonical JSON and a run id out."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator, model_validator

from pipeline.config_sections import (
    AuditConfig,
    DatasetConfig,
    ExecutionConfig,
    InterventionsConfig,
    MethodConfig,
    ModelConfig,
    PerturbationConfig,
    RankingConfig,
    ReferenceConfig,
    ReportConfig,
    SanityConfig,
    Section,
    StrategiesConfig,
    TransferConfig,
)
from pipeline.errors import InputError
from pipeline.toml import parse_toml, read_toml


class ConfigError(InputError):
    """A configuration that cannot be used; the message names the field, what was given and what is valid."""


AUTO = "auto"  # in place of a method: the run chooses, see pipeline.measure.choice

# sections that change no stored table of the audit itself
AFTERWARDS = (
    "execution",
    "ranking",
    "sanity",
    "strategies",
    "interventions",
    "transfer",
    "reference",
    "report",
)
EARLIER = "confirm"  # a section of earlier versions: what `interventions` is now


class Config(Section):
    """Everything about one audit."""

    dataset: DatasetConfig = DatasetConfig()
    model: ModelConfig = ModelConfig()
    methods: tuple[MethodConfig, ...] = (MethodConfig(name=AUTO),)
    audit: AuditConfig = AuditConfig()
    perturbation: PerturbationConfig | None = PerturbationConfig()
    execution: ExecutionConfig = ExecutionConfig()
    ranking: RankingConfig = RankingConfig()
    sanity: SanityConfig = SanityConfig()
    strategies: StrategiesConfig = StrategiesConfig()
    interventions: InterventionsConfig = InterventionsConfig()
    reference: ReferenceConfig = ReferenceConfig()
    transfer: TransferConfig = TransferConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, data: Any) -> Any:
        """Manifests of earlier versions hold a section that is no more."""
        return {k: v for k, v in data.items() if k != EARLIER} if isinstance(data, dict) else data

    @field_validator("perturbation", mode="before")
    @classmethod
    def _switched(cls, value: Any) -> Any:
        """``perturbation = false`` or ``"none"``: no curves; ``true``: the usual ones."""
        if isinstance(value, bool):
            return {} if value else None
        return None if value == "none" else value

    @field_validator("methods", mode="before")
    @classmethod
    def _read_methods(cls, value: Any) -> Any:
        """Methods may be written as text: ``methods = ["gradient", "lrp.preset_a"]``."""
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple):
            return value
        if not value:
            raise ValueError(f"no method; name one, or leave the choice to {AUTO!r}")
        return [parse_method(entry) if isinstance(entry, str) else entry for entry in value]

    @field_validator("methods", mode="after")
    @classmethod
    def _auto_stands_alone(cls, value: tuple[MethodConfig, ...]) -> tuple[MethodConfig, ...]:
        if any(method.name == AUTO for method in value) and value != (MethodConfig(name=AUTO),):
            raise ValueError(
                f"{AUTO} chooses one method itself and takes no parameters; leave out the others, or name "
                "methods only"
            )
        return value

    @property
    def automatic(self) -> bool:
        """Whether the run chooses its method."""
        return any(method.name == AUTO for method in self.methods)

    def identity(self) -> dict[str, Any]:
        """The part of the configuration that determines the results."""
        result = self.model_dump(mode="json", exclude=set(AFTERWARDS))
        if self.perturbation is None:
            del result["perturbation"]  # the same run as before there were curves
        return result

    def canonical_json(self) -> str:
        """Sorted, compact JSON of :meth:`identity`: equal for equal audits."""
        return json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))

    @property
    def run_id(self) -> str:
        """sha256 of :meth:`canonical_json`, first 16 hex digits."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:16]


def parse_config(data: dict[str, Any], where: str = "config") -> Config:
    """Validate ``data``. Raises :class:`ConfigError`, one line per fault."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{where}: {'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')} "
            f"(received {fault['input']!r})"
            for fault in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from None


def parse_named(data: dict[str, Any], where: str) -> Config:
    """As :func:`parse_config`, for what a person wrote: dataset and model are named, not defaults.

    Raises :class:`ConfigError`.
    """
    config = parse_config(data, where)
    if EARLIER in data:
        raise ConfigError(
            f"{where}: there is no [{EARLIER}] any more: images of every class are edited in every run; "
            "[interventions] says how many, and `hansaudit confirm` spends more on some classes"
        )
    if not {"source", "name", "path"} & set(data.get("dataset", {})):
        raise ConfigError(
            f"{where}: no dataset; give --dataset or dataset.source: a prepared dataset, an image folder "
            "with annotations, 'planted', or the name of a TFDS dataset"
        )
    if "source" not in data.get("model", {}) and config.dataset.source != config.model.source:
        raise ConfigError(
            f"{where}: no model; give --model or model.source: a .keras or .h5 file, a keras.applications "
            "name, or package.module:function"
        )
    return config


def load_config(path: str | Path) -> Config:
    """Read a TOML configuration. Raises :class:`ConfigError` when it cannot be read or is not valid."""
    return parse_named(read_toml(path, "configuration", ConfigError), str(path))


_METHOD = re.compile(r"(?P<name>[\w.]+)(\((?P<params>.*)\))?\Z", re.DOTALL)


def parse_method(text: str) -> MethodConfig:
    """``name`` or ``name(p=1,q="a")`` with TOML values, the inverse of :attr:`MethodConfig.key`.

    Raises :class:`ConfigError` when it is neither.

    >>> parse_method("smoothgrad(noise=0.1,samples=16)").params
    {'noise': 0.1, 'samples': 16}
    """
    match = _METHOD.match(text.strip())
    if not match:
        raise ConfigError(f"method {text!r}: expected name or name(parameter=value,...), values as in TOML")
    # an inline table takes exactly this list, with nested values and strings
    table = f"params = {{{match['params'] or ''}}}"
    params = parse_toml(table, f"method {text!r}: parameters", ConfigError)["params"]
    try:
        return MethodConfig(name=match["name"], params=params)
    except ValidationError as error:
        raise ConfigError(f"method {text!r}: {error.errors()[0]['ctx']['error']}") from None
