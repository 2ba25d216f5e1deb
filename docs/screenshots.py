"""Makes the pictures of pages in the documentation again, from planted data only: `make screenshots`.

    python -m docs.screenshots [--only report history] [--work build/screenshots]

Draws the planted dataset, trains a network on it (three classes carry a mark, which it learns), another one
on the same images without marks, and audits both, the first after one, three and ten epochs. Then headless
Chromium opens what the commands make of these runs. Data, networks and runs that lie in ``--work`` already
are used again.
"""

from __future__ import annotations

import argparse
import base64
import io
import shlex
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from flows import cli
from flows.commands.review import review_of
from flows.reviewing import listen, server_of
from pipeline.config_sections import DatasetConfig
from pipeline.inputs.datasets.planted import PlantedDataset, PlantedSpec, prepare_planted
from pipeline.inputs.planted_model import planted_card, train_planted_model
from reports.review.guard import Keys
from tests.browser import open_browser

IMAGES: Final = Path(__file__).resolve().parent / "images"
BIGGEST: Final = 150_000  # bytes of a committed picture
WIDTH: Final = 1280
EPOCHS: Final = (1, 3, 10)  # the last as the demo trains
AUDIT: Final = """
[dataset]
source = "planted"
path = "{data}"
[model]
source = "{model}"
[[methods]]
name = "lrp.preset_a"
"""
_QUALITIES: Final = (90, 80, 70)  # of WebP


class Runs:
    """The audited networks, below the working folder; each is made when it is first asked for."""

    def epoch(self, epochs: int) -> Path:
        """The run of the network that was trained on the marks for so many epochs."""
        return self._audited(f"epoch-{epochs:02d}", PlantedSpec(), epochs)

    @property
    def last(self) -> Path:
        """Trained to the end."""
        return self.epoch(EPOCHS[-1])

    @property
    def without_marks(self) -> Path:
        """The same images, and a network that was trained on them without the marks."""
        return self._audited("without-marks", PlantedSpec(artefacts=()), EPOCHS[-1])

    def _audited(self, name: str, trained_on: PlantedSpec, epochs: int) -> Path:
        run = Path("runs") / name
        if not (run / "report.html").is_file():
            data, model = prepare_planted(PlantedSpec(), "data"), _network(name, trained_on, epochs)
            config = Path(f"audit-{name}.toml")  # the card of the network is NAME.toml
            config.write_text(AUDIT.format(data=data, model=model), encoding="utf-8")
            hansaudit("run", "--config", str(config), "--out", str(run))
        return run


def _network(name: str, trained_on: PlantedSpec, epochs: int) -> Path:
    path = Path(f"{name}.keras")
    if not path.is_file():
        folder = prepare_planted(trained_on, "data")
        dataset = PlantedDataset(DatasetConfig(source="planted", path=str(folder)), folder)
        train_planted_model(dataset, epochs=epochs).save(path)
        planted_card(trained_on.side, trained_on.classes).save(path.with_suffix(".toml"))
    return path


def hansaudit(*words: str) -> None:
    """Run a command. Raises :class:`SystemExit` where it fails."""
    if cli.run(list(words)) != cli.DONE:
        raise SystemExit(f"failed: hansaudit {shlex.join(words)}")


@dataclass(frozen=True)
class Window:
    """A browser's window, ``WIDTH`` wide."""

    browser: Any

    def show(self, address: str, height: int) -> None:
        """Open a page afresh in a window of this height."""
        metrics = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        self.browser.get("about:blank")  # else another hash is no other page
        self.browser.get(address)

    def until(self, condition: str) -> None:
        """Wait for what a page loads. Raises what the browser raises after its time for scripts."""
        look = f"const look = () => ({condition}) ? arguments[0]() : setTimeout(look, 50); look();"
        self.browser.execute_async_script(look)

    def picture(self, selector: str = "") -> Image.Image:
        """What is in the window, or the element of a selector with what lies below the fold."""
        area: dict[str, Any] = {}
        if selector:
            box = "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
            where = f"{box} return {{x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height}}"
            clip = self.browser.execute_script(where, selector) | {"scale": 1}
            area = {"clip": clip, "captureBeyondViewport": True}
        taken = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", **area})
        return Image.open(io.BytesIO(base64.b64decode(taken["data"])))

    def printed(self) -> list[Image.Image]:
        """The pages on paper, as the page itself asks for them."""
        import pypdfium2

        printed = self.browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
        document = pypdfium2.PdfDocument(base64.b64decode(printed["data"]))
        return [page.render(scale=1.25).to_pil() for page in document]


def report(window: Window, runs: Runs) -> Image.Image:
    """The first screen of the report, with what changed since the network that was trained without marks."""
    window.show(_report(runs.last, "--baseline", str(runs.without_marks)), 900)
    return window.picture()


def report_card(window: Window, runs: Runs) -> Image.Image:
    """The card of the class that comes first."""
    window.show(_report(runs.last), 900)
    return window.picture(".card")


def report_class(window: Window, runs: Runs) -> Image.Image:
    """The first page of a class, of a report as a folder."""
    hansaudit("report", str(runs.last), "--folder", "pages")
    window.show(Path("pages/index.html").resolve().as_uri(), 900)
    first = "return document.querySelector('a[href^=\"classes/\"]').href"
    window.show(window.browser.execute_script(first), 900)
    return window.picture()


def report_printed(window: Window, runs: Runs) -> Image.Image:
    """The first two pages of the report on paper, side by side."""
    window.show(_report(runs.last), 900)
    pages = window.printed()[:2]
    gap = 12
    sheet = Image.new("RGB", (sum(p.width + gap for p in pages) - gap, pages[0].height), "#999999")
    for k, page in enumerate(pages):
        sheet.paste(page, (k * (page.width + gap), 0))
    return sheet


def _report(run: Path, *options: str) -> str:
    """Address of a report as this version makes it."""
    hansaudit("report", str(run), *options)
    return (run / "report.html").resolve().as_uri()


def changes(window: Window, runs: Runs) -> Image.Image:
    """What the marks changed: the network against the one trained without them."""
    page = Path("changes.html")
    hansaudit("diff", str(runs.without_marks), str(runs.last), "--html", str(page))
    window.show(page.resolve().as_uri(), 900)
    return window.picture()


def history(window: Window, runs: Runs) -> Image.Image:
    """How the network came to go by the marks."""
    page = Path("history.html")
    epochs = [str(runs.epoch(k)) for k in EPOCHS]
    hansaudit("history", *epochs, "--order", "given", "--html", str(page))
    window.show(page.resolve().as_uri(), 900)
    return window.picture()


def review(window: Window, runs: Runs) -> Image.Image:
    """A decision about the first class, before it is saved."""
    with _served(runs.last) as address:
        window.show(address, 1000)
        window.until("performance.getEntriesByType('resource').some(e => e.initiatorType === 'iframe')")
        window.browser.execute_script(_DECIDED)
        window.browser.execute_async_script("setTimeout(arguments[0], 1000)")  # the report in it is drawn
        return window.picture()


_DECIDED: Final = """
document.querySelector('[value=clever_hans]').click();
document.getElementById('reason').value = 'the mark is in every training image; to be drawn without it';
"""


@contextmanager
def _served(run: Path) -> Iterator[str]:
    """The address of a review of the run, while it is served."""
    with tempfile.TemporaryDirectory() as folder, listen(0) as socket:
        keys = Keys(socket.getsockname()[1])
        decisions = Path(folder) / "decisions.toml"
        server = server_of(review_of(str(run), str(decisions), None, "vision team"), keys)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        yield keys.address
        server.should_exit = True
        thread.join(10)


PICTURES: Final[Mapping[str, Callable[[Window, Runs], Image.Image]]] = {
    "report": report,
    "report-card": report_card,
    "report-class": report_class,
    "report-printed": report_printed,
    "changes": changes,
    "history": history,
    "review": review,
}


def publish(picture: Image.Image, name: str) -> None:
    """Into ``docs/images``, as it is; where that is too big, with as small losses as fit.

    Raises :class:`SystemExit` where that is too big, too.
    """
    target, plain = IMAGES / f"{name}.webp", picture.convert("RGB")
    plain.save(target, lossless=True, quality=100, method=6)
    for quality in _QUALITIES:
        if target.stat().st_size > BIGGEST:
            plain.save(target, quality=quality, method=6)
    size = target.stat().st_size
    print(f"{target}: {picture.width} x {picture.height}, {size / 1000:.0f} kB")
    if size > BIGGEST:
        raise SystemExit(f"{target}: more than {BIGGEST / 1000:.0f} kB; keep less of the page")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=PICTURES, default=list(PICTURES))
    parser.add_argument("--work", type=Path, default=Path("build/screenshots"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    with chdir(options.work), tempfile.TemporaryDirectory() as profile:  # no page shows this machine's paths
        browser = open_browser(Path(profile))
        try:
            for name in options.only:
                publish(PICTURES[name](Window(browser), Runs()), name)
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
