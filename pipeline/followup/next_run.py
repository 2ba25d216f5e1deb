"""The same audit with other annotations: its configuration as a file, and the command that runs it."""

from __future__ import annotations

from pipeline.config import Config, parse_config
from pipeline.errors import InputError
from pipeline.run.preflight import KEY
from pipeline.run.store import Store
from pipeline.toml import toml_text
from pipeline.trust import is_function
from pipeline.unboxed import quoted


def own_config(store: Store) -> Config:
    """The configuration that the run was made with."""
    return parse_config(store.manifest["config"], store.path)


def config_text(store: Store, annotations: str) -> str:
    """The run's configuration as TOML, with the CSV ``annotations`` in the place of its own.

    Raises:
        InputError: the classes of its folder are matched to outputs by position in COCO's order, which a CSV
            does not have.
    """
    config = own_config(store)
    names = store.manifest["dataset"]["class_names"]
    matched = (store.manifest.get(KEY) or {}).get("classes", {}).get("by")
    if config.dataset.source == "folder" and list(names) != sorted(names) and matched == "position":
        raise InputError(
            f"{store.path}: its classes are matched to the network's outputs by COCO's order, which a CSV "
            "does not have; name them in the model card (class_names) first"
        )
    update = {"annotations": annotations, "annotations_format": "csv"}
    changed = config.model_copy(update={"dataset": config.dataset.model_copy(update=update)})
    return toml_text(_plain(changed))


def next_command(store: Store, config: str) -> str:
    """What runs it, in a folder of its own; what only a command line may permit is repeated on it."""
    model = own_config(store).model
    out = f"{store.path.rstrip('/')}-boxes"
    code = f" --model {quoted(model.source)}" if is_function(model.source) else ""
    unsafe = " --unsafe" if model.unsafe else ""
    return f"hansaudit run --config {quoted(config)}{code}{unsafe} --out {quoted(out)}"


def _plain(config: Config) -> dict[str, object]:
    """What differs from the defaults, methods by their keys."""
    content = config.model_dump(mode="json", exclude_defaults=True, exclude={"methods"})
    content.setdefault("dataset", {})["source"] = config.dataset.source
    if config.perturbation is None:
        content["perturbation"] = False
    return {"methods": [method.key for method in config.methods], **content}
