"""What follows a served run: the gate, old runs that go, and a command of the user's.

The command is taken from the environment of the process that serves, never from Prefect's parameters: who may
edit a deployment must not run commands here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config import ConfigError
from pipeline.errors import InputError, reason
from pipeline.run.folder import MANIFEST, REPORT
from reports.gate.evaluate import evaluate
from reports.gate.markdown import markdown
from reports.gate.outcome import Outcome
from reports.gate.outputs import write_outputs
from reports.gate.policy import load_policy

THEN = "HANSAUDIT_THEN"
Say = Callable[[str], None]  # a line for whoever watches
_DATE = "{date}"
_DAY = r"\d{4}-\d{2}-\d{2}"


@dataclass(frozen=True)
class Night:
    """What is done after each run.

    Attributes:
        out: run folders, with ``{date}`` in their name where they differ by it.
        policy: of the gate, a TOML file; empty: no gate. Its baseline is the run before, unless it names one.
        keep: run folders that stay, the newest; 0: all.
    """

    out: str
    policy: str = ""
    keep: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For a deployment's parameters."""
        return asdict(self)

    def check(self, then: str) -> None:
        """Refuse before anything is served what could not be done after a run.

        Raises :class:`ConfigError`, and :class:`InputError` for a policy that is not valid.
        """
        if self.policy:
            load_policy(self.policy)
        if self.keep and (_DATE not in Path(self.out).name or "://" in self.out):
            raise ConfigError(
                f"keep = {self.keep} with out {self.out!r}: old runs are told by {_DATE} in the last part of "
                "a local path, such as runs/{date}"
            )
        if then and shutil.which(shlex.split(then)[0]) is None:
            raise ConfigError(
                f"then {then!r}: there is no command {shlex.split(then)[0]!r}; give one with its path"
            )

    def runs(self) -> Iterator[Path]:
        """Local folders of earlier nights and this one that hold a run, oldest first."""
        pattern = Path(self.out)
        if _DATE not in pattern.name or "://" in self.out or not pattern.parent.is_dir():
            return
        dated = re.compile(re.escape(pattern.name).replace(re.escape(_DATE), _DAY))
        for path in sorted(pattern.parent.iterdir()):
            if dated.fullmatch(path.name) and (path / MANIFEST).is_file() and not path.is_symlink():
                yield path

    def before(self, run: str) -> str:
        """The folder of the night before ``run``; empty where there is none."""
        earlier = [path for path in self.runs() if path != Path(run) and path.name < Path(run).name]
        return str(earlier[-1]) if earlier else ""


def follow_up(night: Night, run: str, say: Say, failure: str = "") -> None:
    """After a run, or after it failed with the message ``failure``: gate, clearing away, the command.

    What goes wrong here is said, and leaves the run as it is.
    """
    last = night.before(run)
    outcome = None
    if not failure:
        try:
            baseline = load_policy(night.policy).baseline if night.policy else ""
            outcome = _judge(night, run, baseline or last)
            _clear_away(night, (run, baseline), say)
        except InputError as error:  # a policy that was spoilt since, a run that is not whole
            say(f"gate: {error}")
    if outcome is not None:
        say(markdown(outcome).split("\n", 1)[0].lstrip("# "))
    _call(os.environ.get(THEN, ""), _told(run, last, outcome, failure), say)


def _judge(night: Night, run: str, baseline: str) -> Outcome | None:
    """The gate's outcome, also written into the run as ``gate.md`` and ``gate.json``. Raises InputError."""
    if not night.policy:
        return None
    outcome = evaluate(run, night.policy, baseline=baseline)
    if "://" not in run:
        write_outputs(outcome, {"markdown": f"{run}/gate.md", "json": f"{run}/gate.json"})
    return outcome


def _clear_away(night: Night, spared: Sequence[str], say: Say) -> None:
    """Remove run folders beyond the newest ``keep``; those in ``spared`` stay, however they are spelt."""
    folders = list(night.runs())
    stay = {Path(path).resolve() for path in spared if path}
    for path in folders[: max(0, len(folders) - night.keep)] if night.keep else ():
        if path.resolve() not in stay:
            try:
                shutil.rmtree(path)
                say(f"removed {path}: the newest {night.keep} runs are kept")
            except OSError as error:
                say(f"{path} is old and could not be removed: {reason(error)}")


def _told(run: str, last: str, outcome: Outcome | None, failure: str) -> dict[str, str]:
    """What the command finds in its environment."""
    return {
        "HANSAUDIT_RUN": run,
        "HANSAUDIT_LAST": last,
        "HANSAUDIT_STATE": "failed" if failure else "finished",
        "HANSAUDIT_MESSAGE": failure,
        "HANSAUDIT_GATE": str(outcome.counts_as) if outcome else "",
        "HANSAUDIT_REPORT": f"{run}/{REPORT}",
    }


def _call(command: str, told: Mapping[str, str], say: Say) -> None:
    if not command:
        return
    try:
        done = subprocess.run(shlex.split(command), env=os.environ | told, check=False)
        if done.returncode:
            say(f"then {command!r}: ended with {done.returncode}")
    except OSError as error:
        say(f"then {command!r}: cannot be run: {reason(error)}")
