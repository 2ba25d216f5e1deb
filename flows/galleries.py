"""From images, networks and methods to a gallery: what ``explain`` and ``compare`` do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows import settings, terminal
from pipeline.config import parse_config
from pipeline.config_sections import DatasetConfig, MethodConfig, ModelConfig
from pipeline.errors import InputError
from pipeline.trust import NOTHING, Trust
from reports.gallery.model import SCOPES, Cell, Gallery, Line
from reports.gallery.page import save_arrays, write_gallery
from reports.gallery.view import View
from reports.gallery.views import all_views

if TYPE_CHECKING:
    from explainers import Fitted
    from pipeline.inputs.datasets import Dataset
    from pipeline.inputs.models import LoadedModel
    from pipeline.measure.explain import Explained

SIGNALS = ("deconvnet", "guided_backprop", "pattern_net")  # an image, not an attribution


@dataclass(frozen=True)
class Look:
    """How a gallery is made: methods, targets, view, scales, where reference images come from."""

    methods: tuple[MethodConfig, ...]
    targets: str = "top1"
    view: str = "auto"
    scope: str = "image"
    references: str = ""
    labels: tuple[str, ...] = ()
    percentile: float = 100.0
    names: Mapping[str, str] = field(default_factory=dict)  # shown in place of a method's key

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError("--methods: none given; `hansaudit methods` lists them")
        views = ("auto", "all", *all_views())
        for name, value, valid in (("view", self.view, views), ("scope", self.scope, tuple(SCOPES))):
            if value not in valid:
                raise InputError(f"--{name} {value!r} is unknown; valid: {', '.join(valid)}")
        if not 0 < self.percentile <= 100:
            raise InputError(f"--percentile {self.percentile:g}: valid: above 0, at most 100")

    def views_of(self, method: MethodConfig) -> tuple[View, ...]:
        """The visualisations of a method's maps: a column each."""
        if self.view == "all":
            return tuple(all_views().values())
        if self.view != "auto":
            return (all_views()[self.view],)
        return (all_views()["projection" if method.name in SIGNALS else "heatmap"],)

    def cells(self, maps: Iterable[np.ndarray], notes: Iterable[str]) -> tuple[Cell, ...]:
        """A row: one map h w c per method, and what is to be said about it."""
        return tuple(
            Cell(relevance, view, note)
            for relevance, note, method in zip(maps, notes, self.methods, strict=True)
            for view in self.views_of(method)
        )

    def gallery(
        self, title: str, columns: Iterable[str], lines: Iterable[Line], about: Iterable[tuple[str, str]]
    ) -> Gallery:
        """These lines on this look's scales."""
        return Gallery(title, tuple(columns), tuple(lines), self.scope, tuple(about), self.percentile)

    @property
    def columns(self) -> tuple[str, ...]:
        """The methods' names, with the parameters that were given."""
        shown = [(self.names.get(m.key, m.key), view.name) for m in self.methods for view in self.views_of(m)]
        if self.view != "all":
            return tuple(name for name, _ in shown)
        return tuple(view if len(self.methods) == 1 else f"{name}: {view}" for name, view in shown)


def split_methods(text: str) -> list[str]:
    """``a,b(p=1,q=2),c`` -> its methods: commas inside brackets separate parameters."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def model_config(source: str, card: str | None, weights: str | None, unsafe: bool) -> ModelConfig:
    """The validated model section. Raises ConfigError."""
    given = {"source": source, "card": card, "weights": weights, "unsafe": unsafe or None}
    return parse_config({"model": {k: v for k, v in given.items() if v is not None}}, "options").model


def glance(images: Sequence[str], configs: Sequence[ModelConfig], look: Look, trust: Trust) -> None:
    """Refuse what can be told before a framework is loaded. Raises InputError."""
    from pipeline.inputs.datasets import glance_dataset, section_of
    from pipeline.inputs.geometry import read_image
    from pipeline.measure.beforehand import glance_model

    if look.labels and len(look.labels) != len(images):
        raise InputError(
            f"--labels: received {len(look.labels)} for {len(images)} images; valid: one per image"
        )
    for path in images:
        read_image(path)
    for config in configs:
        glance_model(config, trust)
    if look.references:
        glance_dataset(DatasetConfig.model_validate(section_of(look.references)))


def load(config: ModelConfig, trust: Trust) -> LoadedModel:
    """The network, whose code runs as far as ``trust`` goes; the planted one is trained if need be."""
    settings.load_tensorflow()
    from pipeline.inputs.datasets import open_dataset
    from pipeline.inputs.models import load_model

    with terminal.console.status(f"loading {config.source}"):
        dataset = open_dataset(DatasetConfig(source="planted")) if config.source == "planted" else None
        return load_model(config, dataset, trust)


def fit(look: Look, model: LoadedModel) -> Mapping[str, Fitted]:
    """The look's methods, fitted; a method that estimates reads the reference images."""
    from pipeline.inputs.datasets import open_dataset, section_of
    from pipeline.measure.fitting import check, fit_methods, reference_batches

    for method in look.methods:
        check(method)
    data: Callable[[], Iterable[np.ndarray]] | None = None
    if look.references:
        dataset: Dataset = open_dataset(DatasetConfig.model_validate(section_of(look.references)))

        def data() -> Iterator[np.ndarray]:
            return reference_batches(dataset, model.card)

    with terminal.console.status("fitting the methods"):
        return fit_methods(look.methods, model, data)


def explained_lines(images: Sequence[str], model: LoadedModel, look: Look) -> tuple[Line, ...]:
    """A line per image and target (Figures 5 and 6)."""
    from pipeline.measure.explain import check_size, explain_photos, find_output, read_photo

    check_size(len(images), len(look.methods))
    outputs = model.model.output_shape[-1]
    photos = [
        replace(read_photo(path, model.card), label=find_output(model.card, text, outputs) if text else None)
        for path, text in zip(images, look.labels or [""] * len(images), strict=True)
    ]
    fitted = fit(look, model)
    with progress():
        answers = explain_photos(photos, model, fitted, look.targets)
    return tuple(_line(answer, model, look, len(images) > 1) for answer in answers)


def _line(answer: Explained, model: LoadedModel, look: Look, named: bool) -> Line:
    from pipeline.measure.explain import class_name

    card, label = model.card, answer.photo.label
    left = [answer.photo.name] if named else []
    left += [f"target: {class_name(card, answer.target)}", f"predicted: {class_name(card, answer.predicted)}"]
    if label is not None:
        left.append(f"true: {class_name(card, label)}")
    made = answer.explanations
    cells = look.cells([e.relevance[0] for e in made], [e.reason[0] or "" for e in made])
    right = (f"p = {answer.probability:.3f}", f"logit {answer.logit:.2f}", f"place {answer.place}")
    return Line(answer.photo.picture, tuple(left), cells, right)


def explain(images: Sequence[str], config: ModelConfig, look: Look, trust: Trust = NOTHING) -> Gallery:
    """Rows = images and targets, columns = methods."""
    glance(images, [config], look, trust)
    model = load(config, trust)
    lines = explained_lines(images, model, look)
    many = f"{len(images)} images" if len(images) > 1 else Path(images[0]).name
    by = f" by {look.methods[0].key}" if len(look.methods) == 1 else ""
    title = f"{many}, explained for {model.name}{by}"
    return look.gallery(title, look.columns, lines, facts(look, [model]))


def compare(image: str, configs: Sequence[ModelConfig], look: Look, trust: Trust = NOTHING) -> Gallery:
    """Rows = networks, columns = methods, one image (Figure 7)."""
    if not configs:
        raise InputError("--models: none given; valid: comma-separated networks, as for `explain --model`")
    glance([image], configs, look, trust)
    lines: list[Line] = []
    models = []
    for config in configs:
        model = load(config, trust)
        models.append(model)
        for line in explained_lines([image], model, look):
            lines.append(replace(line, left=(model.name, *line.left)))
    title = f"{Path(image).name}, explained for {len(models)} networks"
    return look.gallery(title, look.columns, lines, facts(look, models))


def facts(look: Look, models: Sequence[LoadedModel]) -> tuple[tuple[str, str], ...]:
    """What the page says about how it was made."""
    about = [("network", f"{model.name}, sha256 {model.sha256[:12]}") for model in models]
    return (
        *about,
        ("methods", ", ".join(m.key for m in look.methods)),
        ("reference images", look.references or "none"),
    )


def write(gallery: Gallery, out: str, save: str | None) -> None:
    """Figure, page and, where asked for, arrays; prints where they are."""
    if save not in (None, "npz"):
        raise InputError(f"--save {save!r}: valid: npz")
    paths = list(write_gallery(gallery, out))
    if save:
        paths.append(save_arrays(gallery, Path(out) / "arrays.npz"))
    for name, value in gallery.facts:
        if name.startswith("best by"):
            terminal.print_line(f"{name}: {value}")
    for path in paths:
        terminal.print_line(f"written: {path.resolve()}")


@contextmanager
def progress() -> Iterator[None]:
    """A bar per method that evaluates the network many times."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from explainers.progress import listen

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal.console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks or bars.tasks[tasks[what]].completed >= (bars.tasks[tasks[what]].total or 0):
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        with listen(told):
            yield
