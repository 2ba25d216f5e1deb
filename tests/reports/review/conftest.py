"""A review of a drawn run, really served: five of its images have no box."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from flows.commands.review import review_of
from flows.reviewing import listen, server_of
from pipeline.run.folder import RunFolder
from pipeline.run.store import Store
from reports.page.html import write_report
from reports.review.guard import Keys
from tests.edited_runs import write_edits
from tests.reports.page.pages import planted_run


@dataclass
class Served:
    """A server in a thread, and the files that it writes."""

    run: Path
    decisions: Path
    boxes: Path
    images: list[str]
    keys: Keys

    def ask(
        self, method: str, path: str, body: object = None, **headers: str | None
    ) -> tuple[int, bytes, dict]:
        """One request as the page sends it, but for ``headers`` (underscores for dashes; None: without)."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {
            "host": self.keys.host,
            "origin": self.keys.origin,
            "cookie": f"{self.keys.cookie}={self.keys.session}",
            "content-type": "application/json",
            "content-length": str(len(content)),
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.keys.port, timeout=10)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(content)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        return answer.status, said, {k.lower(): v for k, v in answer.getheaders()}

    def state(self) -> dict:
        return json.loads(self.ask("GET", "/api/state")[1])

    def stamp(self, label: int) -> str:
        entry = next(c["entry"] for c in self.state()["classes"] if c["label"] == label)
        return entry["stamp"] if entry else ""


@pytest.fixture(scope="session")
def reviewed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve classes with hostile names, one confirmed, with a report."""
    from pipeline.statistics.ranking import rank

    folder = tmp_path_factory.mktemp("reviewed") / "run"
    planted_run(folder, hostile=True, maps=False)
    write_edits(folder, {0: "depends", 7: "undecided", 3: "independent"})
    ranking = rank(folder)
    ranking.document().write(RunFolder(folder))
    write_report(folder, ranking)
    return folder


@pytest.fixture(scope="session")
def server(reviewed_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests; each gets fresh files."""
    rows = Store(reviewed_run).read("examples", ["file_name", "status"]).to_pylist()
    images = [row["file_name"] for row in rows if row["status"] == "no_box"]
    folder = tmp_path_factory.mktemp("review")
    boxes, decisions = folder / "boxes.csv", folder / "decisions.toml"
    boxes.write_text(csv_of(images))
    review = review_of(str(reviewed_run), str(decisions), str(boxes), "a reviewer")
    with listen(0) as socket:
        keys = Keys(socket.getsockname()[1])
        server = server_of(review, keys)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        yield Served(reviewed_run, decisions, boxes, images, keys)
        server.should_exit = True
        thread.join(10)


def csv_of(images: list[str]) -> str:
    """What `hansaudit boxes` writes for these images, and one that has a box."""
    head = "file,label,xmin,ymin,xmax,ymax,width,height"
    rows = [f"{name},c,,,,,256,256" for name in images]
    return "\n".join([head, *rows, 'known.png,"=c",1,2,3,4,10,10']) + "\n"


@pytest.fixture
def served(server: Served) -> Served:
    """The server, with no decision and no drawn box."""
    server.decisions.unlink(missing_ok=True)
    server.boxes.write_text(csv_of(server.images))
    return server
