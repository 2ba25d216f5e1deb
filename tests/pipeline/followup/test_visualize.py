"""What the network wants of a run's confirmed classes: drawn once, kept, and shown in the report."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows import cli
from flows.visualizing import visualize_confirmed
from pipeline.config_sections import ModelConfig
from pipeline.errors import InputError
from pipeline.followup import visualize
from pipeline.inputs.models import LoadedModel, load_model
from pipeline.measure.beforehand import Moved
from pipeline.run.documents import VisualizedDocument
from pipeline.run.folder import VISUALIZED, VISUALIZED_TABLE
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking, rank
from pipeline.trust import NOTHING
from pipeline.verdicts import Verdict
from reports.page.folder import write_folder
from reports.page.html import write_report

LABEL = 1


@pytest.fixture
def run(small_run: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of the small run; few steps."""
    monkeypatch.setattr(visualize, "STEPS", 6)
    return Store(shutil.copytree(small_run.path, tmp_path / "run"))


@pytest.fixture
def model(tiny_cnn_file: Path) -> LoadedModel:
    return load_model(ModelConfig(source=str(tiny_cnn_file)))


def confirmed(run: Store) -> Ranking:
    """The run's ranking, as it were if one class were confirmed."""
    ranking = rank(run)
    table = ranking.table.copy()
    table.loc[table["label"] == LABEL, "verdict"] = Verdict.CONFIRMED
    return replace(ranking, table=table)


def test_the_logit_that_is_said_is_that_of_the_pictures(run: Store, model: LoadedModel) -> None:
    assert visualize.visualize_classes(run, [LABEL], lambda: model) == [LABEL]
    stored = VisualizedDocument.current(run)
    assert stored is not None
    (drawn,) = stored.classes
    assert (drawn.class_name, stored.steps, stored.seed) == ("rhombus", 6, 0)
    table = run.read_side_table(VISUALIZED_TABLE)
    assert table is not None
    pictures = [
        np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in table["picture"].to_pylist()
    ]
    assert np.stack(pictures).shape == (3, 32, 32, 3)
    logits = model.model.get_layer("logits").output
    network = type(model.model)(model.model.input, logits)
    says = np.asarray(network(model.card.prepare(np.stack(pictures))))[:, LABEL]
    assert says.mean() == pytest.approx(drawn.after, abs=0.05)  # rounded to 256 colours
    assert drawn.after > drawn.before


def test_what_is_drawn_is_kept_and_others_come_beside_it(run: Store, model: LoadedModel) -> None:
    visualize.visualize_classes(run, [LABEL], lambda: model)
    first = VisualizedDocument.current(run)
    assert visualize.visualize_classes(run, [LABEL], lambda: pytest.fail("the model is opened")) == []
    assert visualize.visualize_classes(run, [0, LABEL], lambda: model) == [0]
    both = VisualizedDocument.current(run)
    assert first is not None
    assert both is not None
    assert [c.label for c in both.classes] == [0, LABEL]
    assert both.classes[1] == first.classes[0]


def test_a_table_without_its_document_is_not_shown_twice(run: Store, model: LoadedModel) -> None:
    visualize.visualize_classes(run, [LABEL], lambda: model)
    one = run.files.get(VISUALIZED)
    visualize.visualize_classes(run, [0], lambda: model)
    assert one is not None
    run.files.put(VISUALIZED, one)  # as if the second drawing had been killed between table and document
    assert visualize.visualize_classes(run, [0], lambda: model) == [0]
    table = run.read_side_table(VISUALIZED_TABLE)
    assert table is not None
    assert sorted(table["label"].to_pylist()) == [0, 0, 0, LABEL, LABEL, LABEL]


def test_a_confirmed_class_shows_it_and_no_other(run: Store, model: LoadedModel, tmp_path: Path) -> None:
    visualize.visualize_classes(run, [0, LABEL], lambda: model)
    ranking = confirmed(run)
    page = write_report(run.path, ranking, tmp_path / "report.html").read_text()
    assert page.count('class="wanted"') == 1
    assert "activation maximisation, 6 steps, seed 0" in page
    folder = write_folder(run.path, ranking, tmp_path / "pages").parent
    assert (folder / "classes" / f"{LABEL}.html").read_text().count('class="wanted"') == 1
    assert 'class="wanted"' not in (folder / "classes" / "0.html").read_text()


def test_the_command_draws_for_confirmed_classes_only(
    run: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["report", run.path, "--visualize"]) == 0
    assert "no class is confirmed, so there is nothing to draw" in capsys.readouterr().out.replace("\n", " ")
    assert cli.run(["report", run.path, "--model", "other.keras"]) == 2
    assert "only --visualize reads them" in capsys.readouterr().err.replace("\n", " ")
    gone = Moved(model=str(tmp_path / "gone.keras"))
    with pytest.raises(InputError, match=r"gone\.keras.*there is no such file"):
        visualize_confirmed(run.path, confirmed(run), gone, NOTHING)
    assert visualize_confirmed(run.path, confirmed(run), Moved(), NOTHING) == (1, 1)
    assert VisualizedDocument.current(run) is not None
