"""A network with one unit through a whole audit: as its twin with two units and the same probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.config import parse_config
from pipeline.inputs.models import LoadedModel
from pipeline.measure.audit import audit_run
from pipeline.measure.bench import Bench, open_bench
from pipeline.measure.explain import explain_photos, read_photo
from pipeline.measure.interventions.stage import edit_run
from pipeline.run.documents import SanityDocument
from pipeline.run.edited_parts import read_edited
from pipeline.run.store import Store
from pipeline.statistics.effects import undecided_classes
from tests.archives import jpeg

layers = keras.layers
SIDE = 16
CARD = f"height = {SIDE}\nwidth = {SIDE}\nresize = 'stretch'\nscale = 0.00392156862745098\n"


def heads() -> dict[str, keras.Model]:
    """One body with three heads: a sigmoid unit, the same unit's logit, two softmax units."""
    keras.utils.set_random_seed(3)
    x = keras.Input((SIDE, SIDE, 3))
    body = keras.Model(x, layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu")(x)))
    unit, logit, two = layers.Dense(1, activation="sigmoid"), layers.Dense(1), layers.Dense(2)
    made = {"unit": unit(body(x)), "logit": logit(body(x)), "twin": layers.Softmax()(two(body(x)))}
    models = {name: keras.Model(x, end) for name, end in made.items()}
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=unit.kernel.shape) * 0.3, np.zeros(1)
    pictures = rng.uniform(size=(20, SIDE, SIDE, 3)).astype("float32")
    b -= np.median(body(pictures).numpy() @ w)
    unit.set_weights([w, b])
    logit.set_weights([w, b])
    two.set_weights([np.concatenate([-w, w], 1) / 2, np.concatenate([-b, b]) / 2])
    return models


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Store, Bench]]:
    """Cats and dogs, audited with each of the three heads."""
    root = tmp_path_factory.mktemp("binary")
    lines = ["file,label,xmin,ymin,xmax,ymax"]
    for k, name in enumerate(("cat", "dog")):
        (root / "data" / name).mkdir(parents=True)
        for i in range(6):
            (root / "data" / name / f"{i}.jpg").write_bytes(jpeg(20, 20, seed=10 * k + i))
            lines.append(f"{name}/{i}.jpg,{name},3,3,12,11")
    (root / "data" / "annotations.csv").write_text("\n".join(lines) + "\n")
    runs = {}
    for name, model in heads().items():
        model.save(root / f"{name}.keras")
        card = CARD + ('output = "sigmoid"\n' if name == "logit" else "")
        (root / f"{name}.toml").write_text(card)
        bench = open_bench(parse_config(settings(root / "data", root / f"{name}.keras")))
        store = Store(root / f"run-{name}")
        audit_run(store, bench)
        runs[name] = store, bench
    return runs


def settings(data: Path, model: Path) -> dict[str, Any]:
    return {
        "dataset": {"source": "folder", "path": str(data)},
        "model": {"source": str(model)},
        "methods": [{"name": "gradient"}, {"name": "lrp.preset_a"}],
        "perturbation": {"region": 4, "steps": 4, "repeats": 1},
        "execution": {"batch_size": 4},
        "sanity": {"images": 4},
    }


@pytest.mark.parametrize("name", ["unit", "logit"])
def test_the_tables_are_those_of_the_twin(audited: dict[str, tuple[Store, Bench]], name: str) -> None:
    (store, bench), (twin, _) = audited[name], audited["twin"]
    assert (bench.model.card.output, bench.model.card.classes) == ("sigmoid", 2)
    ours, theirs = (s.read("examples").to_pandas() for s in (store, twin))
    assert set(ours["status"]) == {"ok"}
    assert set(ours["label"]) == set(ours["prediction"]) == {0, 1}
    for column in ("label", "class_name", "prediction", "correct", "target"):
        assert list(ours[column]) == list(theirs[column])
    for column in ("confidence", "label_probability"):
        np.testing.assert_allclose(ours[column], theirs[column], rtol=1e-4)
    np.testing.assert_allclose(ours["target_logit"], 2 * theirs["target_logit"], rtol=1e-4)
    scores, others = (s.read("scores").to_pandas() for s in (store, twin))
    assert list(scores["reason"]) == list(others["reason"])
    # sums of relevance follow the logit, which is twice the twin's; shares do not
    factor = np.where(scores["metric"].isin(["relevance_in", "relevance_out"]), 2, 1)
    np.testing.assert_allclose(scores["value"], factor * others["value"], rtol=1e-3, atol=1e-5)
    curves, drawn = (np.stack(s.read("curves").to_pandas()["values"]) for s in (store, twin))
    np.testing.assert_allclose(curves, drawn, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["unit", "logit"])
def test_probabilities_are_the_models_own(audited: dict[str, tuple[Store, Bench]], name: str) -> None:
    store, bench = audited[name]
    examples = store.read("examples").to_pandas()
    inputs = np.stack([read_photo(f, bench.model.card).inputs for f in _files(bench, examples)])
    raw = bench.model.model(inputs).numpy()[:, 0]
    of_class = np.where(examples["label"] == 1, raw, 1 - raw)
    np.testing.assert_allclose(examples["label_probability"], of_class, rtol=1e-4)


def _files(bench: Bench, examples: Any) -> list[Path]:
    return [Path(bench.config.dataset.path) / name for name in examples["file_name"]]


@pytest.mark.parametrize("name", ["unit", "logit"])
def test_sanity_edited_images_and_single_photos(audited: dict[str, tuple[Store, Bench]], name: str) -> None:
    (store, bench), (twin, other) = audited[name], audited["twin"]
    checks = SanityDocument.read(store)
    assert checks is not None
    assert all(m.images == 4 for m in checks.methods)
    edited = []
    for run, of_run in ((store, bench), (twin, other)):
        edit_run(run, of_run, undecided_classes)
        table = read_edited(run)
        assert table is not None
        edited.append({(r["example_id"], r["edit"]): r for r in table.to_pylist()})
    assert edited[0]
    assert edited[0].keys() == edited[1].keys()
    for key, row in edited[0].items():
        assert row["probability"] == pytest.approx(edited[1][key]["probability"], rel=1e-3)
        assert row["predicted"] == edited[1][key]["predicted"]
    photo = read_photo(_files(bench, store.read("examples").to_pandas())[0], bench.model.card)
    named: LoadedModel = bench.model
    both = explain_photos([photo], named, bench.methods, "0,1")
    assert [e.target for e in both] == [0, 1]
    assert both[0].probability + both[1].probability == pytest.approx(1)
    np.testing.assert_allclose(
        both[0].explanations[0].relevance, -both[1].explanations[0].relevance, rtol=1e-5, atol=1e-7
    )
