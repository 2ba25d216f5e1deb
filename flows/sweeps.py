"""One method with many values of its parameters: what ``sweep`` does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flows import settings, terminal
from flows.galleries import Look, facts, fit, glance, load, progress, split_methods
from pipeline.config import Config
from pipeline.config_sections import MethodConfig, ModelConfig, PerturbationConfig
from pipeline.errors import InputError
from pipeline.trust import NOTHING, Trust
from reports.gallery.model import Gallery, Line
from reports.gallery.views import all_views

if TYPE_CHECKING:
    from pipeline.inputs.models import LoadedModel
    from pipeline.measure.explain import Explained, Photo


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
        for chosen in itertools.product(*(values for _, values in outer)):
            fixed = dict(self.method.params) | dict(zip((name for name, _ in outer), chosen, strict=True))
            made = [MethodConfig(name=self.method.name, params={**fixed, last: value}) for value in values]
            rows.append((chosen, made))
        return rows


def parse_axis(text: str) -> tuple[str, tuple[Any, ...]]:
    """``name=v1,v2,v3`` with JSON values or plain words. Raises InputError."""
    name, equals, values = text.partition("=")
    parts = split_methods(values)
    if not equals or not name.strip() or not parts:
        raise InputError(
            f"--vary {text!r}: expected parameter=value,value,..., such as noise_scale=0.05,0.1,0.2"
        )
    return name.strip(), tuple(_value(part) for part in parts)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # a word, or what is no number that anyone needs
        return text


def sweep(image: str, config: ModelConfig, plan: Sweep, look: Look, trust: Trust = NOTHING) -> Gallery:
    """Rows and columns = parameter values of one method (Figure 2); the best by the metric is named."""
    glance([image], [config], look, trust)
    settings.load_tensorflow()
    from pipeline.measure.explain import class_name, read_photo

    check_sweep(plan, look)
    rows = plan.settings()
    model = load(config, trust)
    photo = read_photo(image, model.card)
    answers = [_only(photo, model, replace(look, methods=tuple(made))) for _, made in rows]
    measured = [
        scores(photo, model, answer, plan) if plan.metric else [None] * len(answer.explanations)
        for answer in answers
    ]
    best = _best(plan.metric, measured)
    lines = []
    for (chosen, made), answer, values in zip(rows, answers, measured, strict=True):
        notes = [
            _note(e.reason[0], plan.metric, value, best)
            for e, value in zip(answer.explanations, values, strict=True)
        ]
        left = [f"{name} = {_word(v)}" for (name, _), v in zip(plan.axes[:-1], chosen, strict=True)]
        cells = replace(look, methods=tuple(made)).cells([e.relevance[0] for e in answer.explanations], notes)
        lines.append(Line(photo.picture, tuple(left) or (plan.method.key,), cells))
    last, columns = plan.axes[-1]
    about = [("target", class_name(model.card, answers[0].target)), *facts(look, [model])]
    if best is not None:
        methods = [method for _, made in rows for method in made]
        keys = [m.key for m, v in zip(methods, itertools.chain(*measured), strict=True) if v == best]
        about.insert(0, (f"best by {plan.metric}", f"{' and '.join(keys)} ({best:.4g})"))
    title = f"{plan.method.key} on {photo.name}, {model.name}"
    return look.gallery(title, [f"{last} = {_word(value)}" for value in columns], lines, about)


def check_sweep(plan: Sweep, look: Look) -> None:
    """Refuse what cannot be swept before a network is loaded. Raises InputError, ExplainError."""
    from explainers import method_info
    from pipeline.measure.curve_metrics import CURVE_METRICS
    from pipeline.measure.explain import check_size
    from pipeline.measure.fitting import check

    names = [name for name, _ in plan.axes]
    for name in names:
        if name not in (takes := method_info(plan.method.name).parameters):
            raise InputError(f"--vary {name}: {plan.method.name} takes {', '.join(takes) or 'no parameter'}")
    if len(set(names)) < len(names):
        raise InputError("--vary: a parameter is named twice; give all its values in one --vary")
    if look.view == "all":
        raise InputError(
            f"--view all: the columns of a sweep are parameter values; valid: {', '.join(all_views())}"
        )
    if plan.metric and plan.metric not in CURVE_METRICS:
        raise InputError(f"--metric {plan.metric!r} is unknown; valid: {', '.join(CURVE_METRICS)}")
    rows = plan.settings()
    check_size(len(rows), len(rows[0][1]))
    for method in (method for _, made in rows for method in made):
        check(method)


def _only(photo: Photo, model: LoadedModel, look: Look) -> Explained:
    """The photo for the one target that a sweep may have."""
    from pipeline.measure.explain import explain_photos

    fitted = fit(look, model)
    with progress():
        rows = explain_photos([photo], model, fitted, look.targets)
    if len(rows) > 1:
        raise InputError(f"--targets {look.targets}: received {len(rows)} classes; valid for sweep: one")
    return rows[0]


def _best(metric: str, measured: Iterable[Iterable[float | None]]) -> float | None:
    """The best value; None where there is none."""
    from pipeline.measure.curve_metrics import CURVE_METRICS

    defined = [value for row in measured for value in row if value is not None]
    return max(defined, key=lambda value: CURVE_METRICS[metric].sign * value) if defined else None


def _note(reason: str | None, metric: str, value: float | None, best: float | None) -> str:
    if reason:
        return reason
    if value is None:
        return ""
    return f"{metric} {value:.4g}" + (", the best" if value == best else "")


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def scores(photo: Photo, model: LoadedModel, answer: Explained, plan: Sweep) -> list[float | None]:
    """The perturbation metric of every setting's map; None where the map is undefined."""
    from pipeline.measure.curve_metrics import CURVE_METRICS
    from pipeline.measure.curves import Perturber
    from pipeline.measure.evaluate import Evaluator
    from pipeline.measure.explain import as_batch

    config = PerturbationConfig(
        protocol="samek", orders=CURVE_METRICS[plan.metric].orders, repeats=plan.repeats
    )
    perturber = Perturber(Evaluator(model.model, Config().execution.batch_size), model.card, config, seed=0)
    keys = [str(i) for i in range(len(answer.explanations))]
    with terminal.console.status("perturbation analysis"):
        table = perturber.tables(as_batch([photo]), answer.explanations, keys)["scores"].to_pylist()
    measured = {row["method"]: row["value"] for row in table if row["metric"] == plan.metric}
    return [measured.get(key) for key in keys]
