"""The files that a gate writes for other programs and people."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from reports.gate.json_document import outcome_json
from reports.gate.junit import junit_xml
from reports.gate.markdown import markdown
from reports.gate.outcome import Outcome, write
from reports.gate.sarif import sarif

FORMATS: Final[Mapping[str, Callable[[Outcome], str]]] = {
    "junit": junit_xml,
    "markdown": markdown,
    "json": outcome_json,
    "sarif": sarif,
}
JOB_SUMMARY: Final = "GITHUB_STEP_SUMMARY"  # the file whose Markdown GitHub shows on the page of a job


def write_outputs(outcome: Outcome, files: Mapping[str, str | None]) -> None:
    """Write each format that has a file, and the Markdown to the job's summary where there is one.

    Raises :class:`~pipeline.errors.InputError` for a file that cannot be written.
    """
    for name, path in files.items():
        if path:
            write(path, FORMATS[name](outcome))
    if summary := os.environ.get(JOB_SUMMARY):
        write(summary, markdown(outcome), append=True)
