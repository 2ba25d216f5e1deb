"""Prefect's server: one, without the caller's descriptors, gone with its process; and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows import cli, lifeline

ROOT = Path(__file__).parents[2]

_OWNER = """
import os, threading
from flows.server import start_server

server = start_server()
print(server._process.pid, flush=True)
server.wait()
from prefect.settings import get_current_settings
seen = []
thread = threading.Thread(target=lambda: seen.append(get_current_settings().api.url))
thread.start()
thread.join()
assert seen == [server.url] == [os.environ["PREFECT_API_URL"]], seen
assert start_server() is server
print("up", flush=True)
input()
"""


def owner(code: str, **environment: str) -> subprocess.Popen[str]:
    """A process that runs ``code`` from the repository's folder."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def gone(pid: int) -> bool:
    """Whether a process ends within a minute, without a fixed wait; one that nobody has buried has ended."""
    try:
        process = psutil.Process(pid)
        process.wait(60)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def test_the_server_dies_with_its_process_and_frees_the_pipe(tmp_path: Path):
    process = owner(_OWNER, PREFECT_HOME=str(tmp_path))
    assert process.stdout is not None
    server = int(process.stdout.readline())
    assert process.stdout.readline() == "up\n"
    descriptors = {os.readlink(f"/proc/{server}/fd/{n}") for n in (1, 2)}
    assert os.readlink(f"/proc/{process.pid}/fd/1") not in descriptors
    os.kill(process.pid, signal.SIGKILL)
    assert process.stdout.read() == ""  # the end of the file: nobody holds the pipe any more
    process.communicate()
    assert gone(server)


def test_a_worker_dies_with_its_parent(tmp_path: Path):
    """What every worker of a pool starts with, here in a pool that waits for nothing."""
    script = tmp_path / "pool.py"
    script.write_text(
        "import os, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from flows.lifeline import follow_parent\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1, get_context('spawn'), follow_parent) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 600).result()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    assert process.stdout.read() == ""
    process.communicate()
    assert gone(worker)


def test_a_process_on_a_line_ends_with_the_line(tmp_path: Path):
    module = tmp_path / "forever.py"
    module.write_text("import sys, time\nprint(sys.argv, flush=True)\ntime.sleep(600)\n")
    program = [sys.executable, "-P", lifeline.__file__, str(os.getpid()), "forever", "--port", "1"]
    process = subprocess.Popen(
        program,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline().endswith("'--port', '1']\n")
    process.stdin.close()
    assert process.wait(60) == 1
    process.stdout.close()


def test_a_run_ends_with_the_process_that_serves_it():
    """Master, a process between, and the run: the one between is not asked."""
    run = "import time, flows.lifeline as l; l.follow_master(); print(1, flush=True); time.sleep(600)"
    code = (
        "import subprocess, sys\nfrom flows.lifeline import be_followed\nbe_followed()\n"
        f"subprocess.Popen(['sh', '-c', sys.executable + ' -c \"{run}\" & echo $!; wait'],"
        " stdin=subprocess.PIPE).wait()"
    )
    process = owner(code)
    assert process.stdout is not None
    served = int(process.stdout.readline())
    assert process.stdout.readline() == "1\n"
    assert psutil.Process(served).status() != psutil.STATUS_ZOMBIE
    process.kill()
    process.wait()
    assert gone(served)
    process.communicate()


def home_that_is_a_file(folder: Path) -> dict[str, str]:
    (folder / "file").write_text("")
    return {"HOME": str(folder / "file")}


def home_below_a_file(folder: Path) -> dict[str, str]:
    (folder / "file").write_text("")
    return {"PREFECT_HOME": str(folder / "file" / "home")}


def address_without_a_server(folder: Path) -> dict[str, str]:
    return {"PREFECT_API_URL": "http://127.0.0.1:9/api"}


@pytest.mark.parametrize(
    ("surroundings", "said"),
    [
        (home_that_is_a_file, "cannot be written (Not a directory), and Prefect keeps its database there"),
        (home_below_a_file, "set PREFECT_HOME to a folder that can"),
        (address_without_a_server, "PREFECT_API_URL = http://127.0.0.1:9/api: does not answer"),
    ],
)
@pytest.mark.parametrize("command", ["run", "serve"])
def test_what_prefect_cannot_use_is_one_line_before_anything_is_loaded(
    command: str, surroundings: Callable[[Path], dict[str, str]], said: str, tmp_path: Path
):
    code = (
        "import sys\nfrom flows import cli, serving\nserving.try_out = lambda config, trust: None\n"
        "code = cli.run(sys.argv[1:])\nassert 'tensorflow' not in sys.modules\nsys.exit(code)"
    )
    toml = tmp_path / "audit.toml"
    toml.write_text('[dataset]\nsource = "planted"\n[model]\nsource = "planted"\n')
    arguments = [command, "--config", str(toml), "--out", str(tmp_path / "out")]
    given = {k: v for k, v in os.environ.items() if k not in ("PREFECT_API_URL", "PREFECT_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, *(("--cron", "0 3 * * *") if command == "serve" else ())],
        cwd=ROOT,
        env=given | surroundings(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == cli.WRONG_INPUT, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
