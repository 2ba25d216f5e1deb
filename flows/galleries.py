"""From images, networks and methods to a gallery: what ``explain``, ``compare`` and ``sweep`` do."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows import settings, terminal
from flows.options import dataset_source
from pipeline.config import Config, DatasetConfig, MethodConfig, ModelConfig, PerturbationConfig, parse_config
from pipeline.errors import InputError
from reports.galleries import SCOPES, VIEWS, Cell, Gallery, Line, save_arrays, write_gallery

if TYPE_CHECKING:
    from explainers import Fitted
    from pipeline.datasets import Dataset
    from pipeline.explain import Explained, Photo
    from pipeline.models import LoadedModel

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
        for name, value, valid in (("view", self.view, VIEWS), ("scope", self.scope, tuple(SCOPES))):
            if value not in valid:
                raise InputError(f"--{name} {value!r} is unknown; valid: {', '.join(valid)}")
        if not 0 < self.percentile <= 100:
            raise InputError(f"--percentile {self.percentile:g}: valid: above 0, at most 100")

    def view_of(self, method: MethodConfig) -> str:
        """The visualisation of a method's maps."""
        if self.view != "auto":
            return self.view
        return "projection" if method.name in SIGNALS else "heatmap"

    def gallery(
        self, title: str, columns: Iterable[str], lines: Iterable[Line], about: Iterable[tuple[str, str]]
    ) -> Gallery:
        """These lines on this look's scales."""
        return Gallery(title, tuple(columns), tuple(lines), self.scope, tuple(about), self.percentile)

    @property
    def columns(self) -> tuple[str, ...]:
        """The methods' names, with the parameters that were given."""
        return tuple(self.names.get(m.key, m.key) for m in self.methods)


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


def load(config: ModelConfig) -> LoadedModel:
    """The network; the planted one is trained on its dataset if need be."""
    settings.load_tensorflow()
    from pipeline.datasets import open_dataset
    from pipeline.models import load_model

    with terminal.console.status(f"loading {config.source}"):
        dataset = open_dataset(DatasetConfig(source="planted")) if config.source == "planted" else None
        return load_model(config, dataset)


def fit(look: Look, model: LoadedModel) -> Mapping[str, Fitted]:
    """The look's methods, fitted; a method that estimates reads the reference images."""
    from pipeline.datasets import open_dataset
    from pipeline.fitting import check, fit_methods, reference_batches

    for method in look.methods:
        check(method)
    data: Callable[[], Iterable[np.ndarray]] | None = None
    if look.references:
        dataset: Dataset = open_dataset(DatasetConfig.model_validate(dataset_source(look.references)))

        def data() -> Iterator[np.ndarray]:
            return reference_batches(dataset, model.card)

    with terminal.console.status("fitting the methods"):
        return fit_methods(look.methods, model, data)


def explained_lines(images: Sequence[str], model: LoadedModel, look: Look) -> tuple[Line, ...]:
    """A line per image and target (Figures 5 and 6)."""
    from pipeline.explain import check_size, explain_photos, find_class, read_photo

    if look.labels and len(look.labels) != len(images):
        raise InputError(
            f"--labels: received {len(look.labels)} for {len(images)} images; valid: one per image"
        )
    check_size(len(images), len(look.methods))
    outputs = model.model.output_shape[-1]
    photos = [
        replace(read_photo(path, model.card), label=find_class(model.card, text, outputs) if text else None)
        for path, text in zip(images, look.labels or [""] * len(images), strict=True)
    ]
    fitted = fit(look, model)
    with progress():
        found = explain_photos(photos, model, fitted, look.targets)
    return tuple(_line(one, model, look, len(images) > 1) for one in found)


def _line(one: Explained, model: LoadedModel, look: Look, named: bool) -> Line:
    from pipeline.explain import class_name

    card, label = model.card, one.photo.label
    left = [one.photo.name] if named else []
    left += [f"target: {class_name(card, one.target)}", f"predicted: {class_name(card, one.predicted)}"]
    if label is not None:
        left.append(f"true: {class_name(card, label)}")
    cells = tuple(
        Cell(e.relevance[0], look.view_of(method), e.reason[0] or "")
        for e, method in zip(one.explanations, look.methods, strict=True)
    )
    right = (f"p = {one.probability:.3f}", f"logit {one.logit:.2f}", f"place {one.place}")
    return Line(one.photo.picture, tuple(left), cells, right)


def explain(images: Sequence[str], config: ModelConfig, look: Look) -> Gallery:
    """Rows = images and targets, columns = methods."""
    model = load(config)
    lines = explained_lines(images, model, look)
    many = f"{len(images)} images" if len(images) > 1 else Path(images[0]).name
    return look.gallery(f"{many}, explained for {model.name}", look.columns, lines, facts(look, [model]))


def compare(image: str, configs: Sequence[ModelConfig], look: Look) -> Gallery:
    """Rows = networks, columns = methods, one image (Figure 7)."""
    if not configs:
        raise InputError("--models: none given; valid: comma-separated networks, as for `explain --model`")
    lines: list[Line] = []
    models = []
    for config in configs:
        model = load(config)
        models.append(model)
        for line in explained_lines([image], model, look):
            lines.append(replace(line, left=(model.name, *line.left)))
    title = f"{Path(image).name}, explained for {len(models)} networks"
    return look.gallery(title, look.columns, lines, facts(look, models))


@dataclass(frozen=True)
class Sweep:
    """Parameter values to try: name and values, in order; the last one makes the columns."""

    method: MethodConfig
    axes: tuple[tuple[str, tuple[Any, ...]], ...]
    metric: str = ""
    repeats: int = 3

    def settings(self) -> list[tuple[tuple[Any, ...], list[MethodConfig]]]:
        """Rows: values of all parameters but the last, and a method per value of the last."""
        *outer, (last, values) = self.axes
        rows = []
        for chosen in itertools.product(*(found for _, found in outer)):
            fixed = dict(self.method.params) | dict(zip((name for name, _ in outer), chosen, strict=True))
            made = [MethodConfig(name=self.method.name, params={**fixed, last: value}) for value in values]
            rows.append((chosen, made))
        return rows


def parse_axis(text: str) -> tuple[str, tuple[Any, ...]]:
    """``name=v1,v2,v3`` with JSON values or plain words. Raises InputError."""
    name, equals, values = text.partition("=")
    found = split_methods(values)
    if not equals or not name.strip() or not found:
        raise InputError(
            f"--vary {text!r}: expected parameter=value,value,..., such as noise_scale=0.05,0.1,0.2"
        )
    return name.strip(), tuple(_value(one) for one in found)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def sweep(image: str, config: ModelConfig, wanted: Sweep, look: Look) -> Gallery:
    """Rows and columns = parameter values of one method (Figure 2); the best by the metric is named."""
    settings.load_tensorflow()
    from pipeline.explain import check_size, class_name, explain_photos, read_photo
    from pipeline.fitting import check, info

    for name, _ in wanted.axes:
        if name not in (known := info(wanted.method.name).parameters):
            raise InputError(
                f"--vary {name}: {wanted.method.name} takes {', '.join(known) or 'no parameter'}"
            )
    if len({name for name, _ in wanted.axes}) < len(wanted.axes):
        raise InputError("--vary: a parameter is named twice; give all its values in one --vary")
    rows = wanted.settings()
    check_size(len(rows), len(rows[0][1]))
    for method in (method for _, made in rows for method in made):
        check(method)
    model = load(config)
    photo = read_photo(image, model.card)
    lines, every = [], []
    for chosen, made in rows:
        fitted = fit(Look(tuple(made), references=look.references), model)
        with progress():
            found = explain_photos([photo], model, fitted, look.targets)
        if len(found) > 1:
            raise InputError(f"--targets {look.targets}: received {len(found)} classes; valid for sweep: one")
        one = found[0]
        notes = scores(photo, model, one, wanted) if wanted.metric else [None] * len(made)
        every += [(value, method.key) for value, method in zip(notes, made, strict=True) if value is not None]
        cells = tuple(
            Cell(e.relevance[0], look.view_of(method), _note(e.reason[0], wanted.metric, value))
            for e, method, value in zip(one.explanations, made, notes, strict=True)
        )
        left = tuple(
            f"{name} = {_word(value)}" for (name, _), value in zip(wanted.axes[:-1], chosen, strict=True)
        )
        lines.append(Line(photo.picture, left or (wanted.method.key,), cells))
    last, values = wanted.axes[-1]
    columns = tuple(f"{last} = {_word(value)}" for value in values)
    about = [("target", class_name(model.card, one.target)), *facts(look, [model])]
    if every:
        pick = min if wanted.metric == "deletion_auc" else max
        about.insert(0, (f"best by {wanted.metric}", "{1} ({0:.4g})".format(*pick(every))))
    title = f"{wanted.method.name} on {photo.name}, {model.name}"
    return look.gallery(title, columns, lines, about)


def _note(reason: str | None, metric: str, value: float | None) -> str:
    if reason:
        return reason
    return f"{metric} {value:.4g}" if value is not None else ""


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def scores(photo: Photo, model: LoadedModel, one: Explained, wanted: Sweep) -> list[float | None]:
    """The perturbation metric of every setting's map; None where the map is undefined."""
    from pipeline.curves import Perturber
    from pipeline.evaluate import Evaluator
    from pipeline.metrics.perturbation import CURVE_METRICS

    if wanted.metric not in CURVE_METRICS:
        raise InputError(f"--metric {wanted.metric!r} is unknown; valid: {', '.join(CURVE_METRICS)}")
    orders = {"deletion_auc": ("deletion",), "insertion_auc": ("insertion",)}.get(
        wanted.metric, ("morf", "lerf", "random")
    )
    config = PerturbationConfig(orders=orders, repeats=wanted.repeats)  # type: ignore[arg-type]
    perturber = Perturber(Evaluator(model.model, Config().execution.batch_size), model.card, config, seed=0)
    keys = [str(i) for i in range(len(one.explanations))]
    with terminal.console.status("perturbation analysis"):
        table = perturber.tables(_batch(photo), one.explanations, keys)["scores"].to_pylist()
    found = {row["method"]: row["value"] for row in table if row["metric"] == wanted.metric}
    return [found.get(key) for key in keys]


def _batch(photo: Photo) -> Any:
    """One photo as a batch without boxes."""
    from pipeline.batches import Batch
    from pipeline.datasets import Record
    from pipeline.schema import STATUS_OK

    h, w = photo.picture.shape[:2]
    record = Record(photo.name, 0, photo.name, None, 0, np.zeros((0, 4)), None)
    return Batch(
        records=(record,),
        pictures=photo.picture[None],
        inputs=photo.inputs[None],
        valid=np.ones(1, bool),
        labels=np.zeros(1, np.int32),
        masks=np.zeros((1, h, w), bool),
        boxes_model=(np.zeros((0, 4), np.int32),),
        sizes=np.array([[w, h]], np.int32),
        status=(STATUS_OK,),
        reason=(None,),
    )


def facts(look: Look, models: Sequence[LoadedModel]) -> tuple[tuple[str, str], ...]:
    """What the page says about how it was made."""
    about = [("network", f"{model.name}, sha256 {model.sha256[:12]}") for model in models]
    return (*about, ("methods", ", ".join(look.columns)), ("reference images", look.references or "none"))


def write(gallery: Gallery, out: str, save: str | None) -> None:
    """Figure, page and, where asked for, arrays; prints where they are."""
    if save not in (None, "npz"):
        raise InputError(f"--save {save!r}: valid: npz")
    paths = list(write_gallery(gallery, out))
    if save:
        paths.append(save_arrays(gallery, Path(out) / "arrays.npz"))
    for name, value in gallery.facts:
        if name.startswith("best by"):
            terminal.console.print(f"{name}: {value}", markup=False)
    for path in paths:
        terminal.console.print(f"written: {path.resolve()}", markup=False, soft_wrap=True)


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
