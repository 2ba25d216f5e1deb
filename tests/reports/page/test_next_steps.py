"""What a report proposes to do: for whom, with which command."""

from __future__ import annotations

import shlex
from types import SimpleNamespace
from typing import Any

import pandas as pd

from pipeline.run.folder import RunFolder
from reports.page.next_steps import next_steps


def run_of(*rows: dict[str, Any]) -> Any:
    common = {"class_name": "fish", "n_edited": None, "n_needed": None, "n_images": 50, "n_correct": 40}
    common |= {"n_boxed": 50, "accuracy": 0.8}
    table = pd.DataFrame([common | {"class_id": f"c {k}"} | row for k, row in enumerate(rows)])
    return SimpleNamespace(classes=table, store=RunFolder("/runs/my run"))


def test_every_open_item_has_its_command():
    run = run_of(
        {"verdict": "confirmed"},
        {"verdict": "suspected", "n_edited": 20, "n_needed": 35},
        {"verdict": "undecided", "n_edited": 10, "n_needed": 12},
        {"verdict": "cleared"},
    )
    look, suspected, undecided = next_steps(run)
    assert shlex.split(look.command) == ["hansaudit", "clusters", "/runs/my run", "--class", "c 0"]
    confirm = ["hansaudit", "confirm", "/runs/my run", "--class"]
    assert shlex.split(suspected.command) == [*confirm, "c 1", "--images", "40"]
    assert shlex.split(undecided.command) == [*confirm, "c 2", "--images", "30"]


def test_classes_without_boxes_need_boxes_and_no_more_images():
    (step,) = next_steps(run_of({"verdict": "undecided", "n_boxed": 0}))
    assert shlex.split(step.command) == ["hansaudit", "boxes", "/runs/my run", "--top", "1"]


def test_classes_that_need_more_images_than_there_are_get_no_command():
    many = [{"verdict": "undecided", "n_edited": 10, "n_needed": n} for n in (70, 80, 90)]
    spent = {"verdict": "undecided", "n_edited": 39, "n_needed": 40}
    (step,) = next_steps(run_of(*many, spent))
    assert step.command == ""
    assert step.text.startswith("Audit more images of the 4 classes")
    assert "about 80 per class" in step.text


def test_many_classes_are_named_in_part_and_nothing_open_is_nothing_to_do():
    steps = next_steps(run_of(*[{"verdict": "suspected"}] * 9))
    assert steps[0].command.count("--class") == 5
    assert "the 9 classes" in steps[0].text
    assert "the first five" in steps[0].text
    assert next_steps(run_of({"verdict": "cleared"}, {"verdict": "unremarkable"})) == []
