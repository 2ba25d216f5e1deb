"""Prefect's settings for this program: no network beyond the API, quiet terminal, patient start.

Call :func:`prepare_prefect` before the first import of Prefect. What the user has set is never changed.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows import interrupts

_DEFAULTS = {
    # analytics and version look-ups would try the network
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # the first start on an empty PREFECT_HOME migrates a database, which takes long on a slow machine
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # a block type per integration is registered at every start otherwise; none is used here
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    # the terminal shows progress and one clear line; the API keeps the whole log
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


_ENGINE, _USUAL = "KERAS_BACKEND", "tensorflow"

# nobody takes a GPU's memory before it is needed: the process that runs the flow shares the first GPU with a
# worker, and workers share where they are more than GPUs. Read when a framework begins to use the device
_GROWING = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

# who sets one of these has a Prefect of their own in mind
_CHOSEN = ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_PROFILE")


def prepare_prefect() -> None:
    """Fill in the settings that the user left open; their own Prefect is left alone unless they name it."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not any(name in os.environ for name in _CHOSEN):
        os.environ["PREFECT_HOME"] = str(_own_home())


def _own_home() -> Path:
    """This program's database and settings of Prefect, for this user only.

    Made here, so that it is private from the start; where it cannot be, starting the server says why.
    """
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    home = Path(state, "hansaudit", "prefect")
    with suppress(OSError):
        home.mkdir(0o700, parents=True, exist_ok=True)
    return home


def quiet_logs() -> None:
    """Keep the libraries' information off this process's terminal: it shows progress and results."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not logging.root.handlers:
        # absl would install a handler that prints everybody's information, Prefect's included
        logging.root.addHandler(logging.NullHandler())


def load_tensorflow() -> None:
    """Import TensorFlow without the lines that its libraries print before any setting can stop them; no
    framework of this process will take a GPU's memory before it needs it.

    Where Keras runs on another framework, TensorFlow at most reads records: it is not loaded before that.
    """
    for name, value in _GROWING.items():
        os.environ.setdefault(name, value)
    if os.environ.get(_ENGINE, _USUAL) != _USUAL:
        return
    if "tensorflow" in sys.modules or os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1"):
        return
    with tempfile.TemporaryFile() as held, _standard_error_to(held.fileno()), interrupts.held_back():
        try:
            import tensorflow  # noqa: F401 - for its side effect
        except BaseException:
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
            raise


@contextmanager
def _standard_error_to(target: int) -> Iterator[None]:
    """Redirect what this process, C++ included, writes to its standard error."""
    sys.stderr.flush()
    original = os.dup(2)
    os.dup2(target, 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
