"""Prefect's settings for this program: no network beyond the API, quiet terminal, patient start.

Call :func:`prepare_prefect` before the first import of Prefect. What the user has set is never changed.
"""

from __future__ import annotations

import os

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


def prepare_prefect() -> None:
    """Fill in the settings that the user left open."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def quiet_tensorflow() -> None:
    """Keep TensorFlow's start-up messages off the terminal unless the user asked for them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def start_server() -> None:
    """Start the temporary API server unless ``PREFECT_API_URL`` names one; returns when it answers."""
    prepare_prefect()
    from prefect.settings import get_current_settings

    if get_current_settings().api.url is None:
        from prefect.server.api.server import SubprocessASGIServer

        SubprocessASGIServer().start()
