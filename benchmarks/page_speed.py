"""How large a report is, and how fast a browser opens, sorts and searches it.

    python -m benchmarks.page_speed                              # draws 1,000 classes of 50 images; minutes
    python -m benchmarks.page_speed --names LOC_synset_mapping.txt --keep /tmp/drawn
    python -m benchmarks.page_speed --run runs/imagenet          # of a run that is there

The drawn run has photographs, maps and the answers to edited images (tests/tables.py, tests/edited_runs.py).
``--names``: lines of an id and a name for its classes. Needs Chromium and its driver. Goals for 1,000
classes: 15 MB at most, opened in 2 s, sorted in 0.5 s, 30,000 pixels at most on a phone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.run.folder import MANIFEST
from pipeline.statistics.ranking import rank
from reports.page.html import write_report
from tests.browser import open_browser
from tests.edited_runs import write_edits
from tests.tables import write_run

WIDTHS = {"desktop": 1280, "phone": 390}
# milliseconds until the next frame is shown after something was done
_TIMED = """
const done = arguments[arguments.length - 1], start = performance.now();
(() => { %s })();
requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
"""
_SORT = "document.querySelector('#ranking th[data-name={}] button').click()"
_SEARCH = "const f = document.getElementById('find'); f.value = '{}'; f.dispatchEvent(new Event('input'))"


def draw(folder: Path, classes: int, images: int, names: Path | None) -> None:
    """Write a run with marks in three classes; its classes get the names of a file."""
    write_run(folder, classes, images, 7, {5: -2.5, 17: -2.2, 44: -2.4}, shard_size=1024)
    habits = dict.fromkeys(range(classes), "independent") | {5: "depends", 17: "depends", 44: "undecided"}
    write_edits(folder, habits)
    if names is None:
        return
    lines = [line.split(maxsplit=1) for line in names.read_text(encoding="utf-8").splitlines()[:classes]]
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    renamed = {"class_ids": [line[0] for line in lines], "class_names": [line[1] for line in lines]}
    planted = {renamed["class_names"][k]: "a mark" for k in (5, 17, 44)}
    manifest["dataset"] |= renamed | {"planted": planted}
    path.write_text(json.dumps(manifest), encoding="utf-8")


def measure(browser: Any, address: str, width: int) -> dict[str, float]:
    """Seconds to open (until everything is loaded and laid out), sort and search; height in pixels."""
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    start = time.perf_counter()
    browser.get(address)
    browser.execute_script("return document.documentElement.scrollHeight")
    opened = time.perf_counter() - start
    sorts = [browser.execute_async_script(_TIMED % _SORT.format(name)) for name in ("class_name", "high")]
    return {
        "opened": opened,
        "sorted": max(sorts) / 1e3,
        "searched": browser.execute_async_script(_TIMED % _SEARCH.format("sh")) / 1e3,
        "pixels": browser.execute_script("return document.documentElement.scrollHeight"),
    }


def report(run: Path, folder: Path, repeats: int) -> None:
    """Write the report and print a line for it and for each width: the best of some openings."""
    start = time.perf_counter()
    ranking = rank(run)
    ranked = time.perf_counter()
    page = write_report(run, ranking, folder / "report.html")
    print(
        f"{len(ranking.table)} classes; report written in {time.perf_counter() - ranked:.1f} s (ranked in "
        f"{ranked - start:.1f} s), {page.stat().st_size / 1e6:.1f} MB; load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores"
    )
    browser = open_browser(folder / "profile")
    try:
        for name, width in WIDTHS.items():
            times = [measure(browser, page.as_uri(), width) for _ in range(repeats)]
            best = {key: min(of[key] for of in times) for key in times[0]}
            print(
                f"{name}: opened in {best['opened']:.2f} s, sorted in {best['sorted']:.2f} s, searched in "
                f"{best['searched']:.2f} s; {best['pixels']:.0f} pixels high"
            )
    finally:
        browser.quit()


def main() -> None:
    """Print the figures of one run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--images", type=int, default=50, help="of each class")
    parser.add_argument("--names", type=Path)
    parser.add_argument("--keep", type=Path, help="where the drawn run stays")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = arguments.run or arguments.keep or Path(folder) / "run"
        if arguments.run is None and not (run / MANIFEST).exists():
            draw(run, arguments.classes, arguments.images, arguments.names)
        report(run, Path(folder), arguments.repeats)


if __name__ == "__main__":
    main()
