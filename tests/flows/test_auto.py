"""A run without a method: it is chosen once, by the process that begins, and stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import cli, runners
from pipeline.run.documents import ChoiceDocument, SanityDocument
from pipeline.run.store import Store


@pytest.fixture
def arguments(tiny_planted, tiny_cnn_file: Path, tmp_path: Path, monkeypatch) -> list[str]:
    """A small audit whose method nobody names."""
    from pipeline.measure import choice

    monkeypatch.setattr(choice, "CANDIDATES", (("constant", "gradient"),))
    toml = tmp_path / "audit.toml"
    toml.write_text(
        f'perturbation = false\n[dataset]\nsource = "planted"\npath = "{tiny_planted.config.path}"\n'
        f'[model]\nsource = "{tiny_cnn_file}"\n[ranking]\ndraws = 100\n[interventions]\nimages = 0\n'
    )
    sizes = ["--shard-size", "12", "--batch-size", "8", "--maps", "0"]
    return ["run", "--config", str(toml), *sizes, "--out", str(tmp_path / "run")]


def scores(run: Store) -> list:
    table = run.read("scores").to_pandas()
    return table.sort_values(["example_id", "metric"])["value"].tolist()


def test_the_method_is_chosen_once_and_tasks_get_it(prefect_api, arguments, tmp_path, monkeypatch, capsys):
    from pipeline.measure import benches

    given = []
    run_shards = runners.run_shards
    monkeypatch.setattr(
        runners, "run_shards", lambda task, keys, to, how: given.append(to) or run_shards(task, keys, to, how)
    )
    assert cli.run(arguments) == cli.DONE
    said = capsys.readouterr().out
    run = Store(tmp_path / "run")
    assert [m["name"] for m in run.manifest["config"]["methods"]] == ["gradient"]
    assert run.manifest["methods_by"] == "auto"
    assert "method: gradient, chosen on a few images" in " ".join(said.split())
    assert "decided: method: gradient, chosen by auto among 2 candidates on 8 images" in said
    chosen = ChoiceDocument.current(run)
    # what the choice took stands before the stages, as forecast (it is over) and as spent
    (session,) = run.manifest["sessions"]
    first = session["forecast"][0]
    assert (first["stage"], first["images"], first["seconds"]) == ("choice", 8, chosen.seconds)
    assert next(iter(session["spent"].items())) == ("choice", chosen.seconds)
    assert "forecast: choice 8 images" in said
    assert {row.method for row in chosen.candidates} == {"constant", "gradient"}
    assert [m.method for m in SanityDocument.current(run).methods] == ["gradient"]
    before = scores(run)

    def chosen_again(bench):
        raise AssertionError("a run that was begun chooses nothing")

    monkeypatch.setattr(benches, "choose", chosen_again)
    benches._kept.clear()
    for key in run.manifest["shards"]:
        (tmp_path / "run" / "examples" / f"part-{key}.parquet").unlink()
    assert cli.run([*arguments, "--method", "auto"]) == cli.DONE
    assert "24 images, 24 of them now" in capsys.readouterr().out
    assert scores(run) == pytest.approx(before, rel=1e-4, nan_ok=True)
    assert ChoiceDocument.current(run) == chosen
    assert [[m["name"] for m in to["config"]["methods"]] for to in given] == [["gradient"], ["gradient"]]
    assert cli.run(["verify", str(tmp_path / "run")]) == cli.DONE


def test_auto_beside_another_method_is_refused_before_anything_is_loaded(arguments, tmp_path, capsys):
    assert cli.run([*arguments, "--method", "auto", "--method", "gradient"]) == cli.WRONG_INPUT
    said = capsys.readouterr().err
    assert "auto chooses one method itself" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
