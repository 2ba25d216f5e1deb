"""The steps of a start-up and their times, with a clock that is given."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.run import start_up


@pytest.fixture
def clock(monkeypatch):
    """A list whose last entry is the time."""
    now = [100.0]
    monkeypatch.setattr(start_up.time, "time", lambda: now[-1])
    start_up.end()  # whatever another test has begun
    yield now
    start_up.end()


def test_a_step_counts_from_the_beginning_and_once(clock):
    start_up.reached(start_up.MODEL)  # nobody begins a run
    start_up.begin(98.5)
    start_up.reached(start_up.COMMAND)
    clock.append(103.25)
    start_up.begin()  # the flow of the same run
    start_up.reached(start_up.MODEL)
    clock.append(104.0)
    start_up.reached(start_up.MODEL)
    assert start_up.end() == {"command understood": 1.5, "model loaded": 4.75}


def test_a_second_run_of_a_process_counts_from_its_own_beginning(clock):
    start_up.begin()
    start_up.reached(start_up.COMMAND)
    start_up.end()
    clock.append(200.0)
    start_up.reached(start_up.SHARD)  # of the run that has begun already
    start_up.begin()
    clock.append(201.0)
    start_up.reached(start_up.LOOK)
    assert start_up.end() == {"images looked at": 1.0}


def test_the_start_of_the_process_is_what_the_system_says():
    began = start_up.process_start()
    assert began == pytest.approx(psutil.Process(os.getpid()).create_time(), abs=1.0)
    code = "import time; time.sleep(1.5); from pipeline.run import start_up; print(start_up.process_start())"
    before = time.time()
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert before - 0.5 <= float(told) <= time.time() - 1.5
