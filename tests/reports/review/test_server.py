"""The server of a review: who may ask it, what it writes, and what the gate makes of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import date, timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest

from flows import cli
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets.annotations import read_boxes
from reports.decisions.file import load_decisions
from reports.gate.evaluate import evaluate
from reports.review.drawing import SeenImage
from reports.review.guard import BIGGEST_BODY

LATER = (date.today() + timedelta(days=30)).isoformat()


def decision(label: int = 0, **others: object) -> dict:
    about = {"decision": "legitimate_context", "reason": "water", "owner": "me", "until": LATER, "seen": ""}
    return {"label": label} | about | others


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "localhost:80"}, 421),
        ({"host": None}, 400),  # refused by the server itself: no HTTP/1.1 without it
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": None}, 403),
        ({"cookie": None}, 401),
        ({"cookie": "hansaudit-1=x"}, 401),
        ({"cookie": "a=b; ;=,\x01"}, 401),
        ({"content_length": str(BIGGEST_BODY + 1)}, 413),
    ],
)
def test_strangers_write_nothing(served, headers, status):
    headers = {k: v if v != "localhost:80" else f"localhost:{served.keys.port}" for k, v in headers.items()}
    got, said, _ = served.ask("PUT", "/api/decision", decision(), **headers)
    assert got == status
    assert served.keys.session.encode() not in said
    assert not served.decisions.exists()


@pytest.mark.parametrize("path", ["/api/state", "/report", "/api/picture?image=x", "/docs", "/openapi.json"])
def test_without_the_session_nothing_is_read(served, path):
    assert served.ask("GET", path, cookie=None)[0] == 401
    assert served.ask("GET", path, origin="http://evil.example")[0] == 403
    if path in ("/docs", "/openapi.json"):
        assert served.ask("GET", path)[0] == 404


def test_only_the_printed_token_buys_the_session(served):
    for token in ("", "x", served.keys.session, "é" * 20):
        status, _, headers = served.ask("POST", "/api/session", {"token": token}, cookie=None)
        assert (status, "set-cookie" in headers) == (401, False)
    right = {"token": served.keys.token}
    assert served.ask("POST", "/api/session", right, cookie=None, origin=None)[0] == 403
    status, _, headers = served.ask("POST", "/api/session", right, cookie=None)
    assert status == 200
    cookie = headers["set-cookie"]
    assert "httponly" in cookie.lower()
    assert "samesite=strict" in cookie.lower()
    assert served.ask("GET", "/api/state", cookie=cookie.partition(";")[0])[0] == 200


def test_a_body_without_end_is_refused(served):
    connection = HTTPConnection("127.0.0.1", served.keys.port, timeout=10)
    headers = {
        "Host": served.keys.host,
        "Origin": served.keys.origin,
        "Cookie": f"{served.keys.cookie}={served.keys.session}",
        "Content-Type": "application/json",
    }
    chunks = (b" " * 8192 for _ in range(12))
    connection.request("PUT", "/api/decision", chunks, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert not served.decisions.exists()


def test_pages_carry_their_policies(served):
    _, shell, headers = served.ask("GET", "/", cookie=None)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert served.keys.token.encode() not in shell
    assert served.keys.session.encode() not in shell
    _, _, headers = served.ask("GET", "/report")
    assert headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 422, "JSON"),
        (decision(label=99), 404, "nothing of this name"),
        (decision(label=True), 422, "label"),
        (decision(decision="fine"), 422, "decision"),
        (decision(until="soon"), 422, "until"),
        (decision(reason="x" * 2001), 422, "reason"),
        (decision(reason="  "), 422, "needs a comment and a reviewer"),
        (decision(extra=1), 422, "extra"),
        (decision(tags=["a, b"]), 422, "a tag is a word or a few"),
        (decision(tags=["x"] * 21), 422, "tags"),
        (decision(seen="0" * 16), 409, "somebody else"),
    ],
)
def test_what_is_no_decision_is_refused_in_a_line(served, body, status, said):
    got, content, _ = served.ask("PUT", "/api/decision", body)
    assert (got, said in json.loads(content)["fault"]) == (status, True)
    assert not served.decisions.exists()


@pytest.mark.parametrize("path", ["/report/../manifest.json", "/../etc/passwd", "/%2e%2e/manifest.json"])
def test_paths_lead_nowhere(served, path):
    assert served.ask("GET", path)[0] == 404
    for image in ("../run/manifest.json", "/etc/passwd", "known.png", "", "a" * 2000):
        assert served.ask("GET", f"/api/picture?image={image}")[0] == 404


def test_decisions_are_written_replaced_and_taken_back(served):
    served.decisions.write_text("# ours\nversion = 1\n")
    sent = decision(reason="<b>water</b>\n[[decision]]", tags=["hands", "<i>", "hands"])
    assert served.ask("PUT", "/api/decision", sent)[0] == 200
    (waiver,) = load_decisions(served.decisions)
    assert (waiver.class_key, waiver.reason) == ("s00000000", "<b>water</b>\n[[decision]]")
    assert waiver.tags == ("hands", "<i>")
    assert (str(waiver.until), waiver.decided) == (LATER, date.today())
    assert served.ask("PUT", "/api/decision", decision(decision="unsure"))[0] == 409  # not seen
    again = decision(decision="unsure", until=None, seen=served.stamp(0))
    assert served.ask("PUT", "/api/decision", again)[0] == 200
    assert [w.decision for w in load_decisions(served.decisions)] == ["unsure"]
    gone = {"label": 0, "decision": None, "seen": served.stamp(0)}
    assert served.ask("PUT", "/api/decision", gone)[0] == 200
    assert served.decisions.read_text().startswith("# ours\nversion = 1\n")
    assert load_decisions(served.decisions) == ()


def test_the_gate_lets_legitimate_context_through_and_no_clever_hans(served):
    policy = served.decisions.with_name("gate.toml")
    policy.write_text('min_coverage = {classes = 0}\n[[check]]\nstatistic = "n_confirmed"\nmax = 0\n')
    assert evaluate(served.run, policy).state == "fail"
    assert served.ask("PUT", "/api/decision", decision(decision="clever_hans"))[0] == 200
    assert evaluate(served.run, policy).state == "fail"
    assert served.ask("PUT", "/api/decision", decision(seen=served.stamp(0)))[0] == 200
    outcome = evaluate(served.run, policy)
    assert [note.waiver for result in outcome.checks for note in result.waived] == [
        f"legitimate context: water; me, until {LATER}"
    ]
    undated = decision(until=None, seen=served.stamp(0))
    assert served.ask("PUT", "/api/decision", undated)[0] == 200
    assert evaluate(served.run, policy).state == "fail"


def test_boxes_become_pixels_of_the_original():
    """``shorter_side``: 400 x 200 becomes 200 x 100, of which the middle 80 x 80 is seen: from (60, 10)."""
    card = ModelCard(height=80, width=80, resize="shorter_side", shorter_side=100)
    image = SeenImage("a", "a.jpg", 0, 400, 200, card)
    assert image.to_pixels((0.25, 0.25, 0.75, 0.75)) == (160, 60, 239, 139)
    assert image.to_pixels((0, 0, 1, 1)) == (120, 20, 279, 179)
    assert image.to_share((160, 60, 239, 139)) == (0.25, 0.25, 0.75, 0.75)
    assert image.to_share((0, 0, 399, 199)) == (0, 0, 1, 1)
    # padded: 400 x 200 becomes 80 x 40 between two bars of 20
    padded = SeenImage("a", "a.jpg", 0, 400, 200, ModelCard(height=80, width=80, resize="pad"))
    assert padded.to_pixels((0, 0, 1, 1)) == (0, 0, 399, 199)
    assert padded.to_pixels((0.5, 0.25, 1, 0.5)) == (200, 0, 399, 99)
    assert padded.to_pixels((0.0, 0.0, 0.5, 0.1)) == (0, 0, 199, 0)  # on the bar: the row next to it
    for share in ((0.5, 0, 0.5, 1), (0, 0, 1, 1.1), (float("nan"), 0, 1, 1)):
        with pytest.raises(ValueError, match="a box is left, top, right, bottom"):
            image.to_pixels(share)


def test_drawn_boxes_are_what_the_next_run_reads(served):
    first, second = served.images[:2]
    before = served.boxes.read_text().splitlines()
    sent = {"image": first, "boxes": [[0.25, 0.5, 0.75, 1], [0, 0, 0.5, 0.5]], "seen": ""}
    status, content, _ = served.ask("PUT", "/api/boxes", sent)
    assert status == 200
    entries = {e.names[0]: e for e in read_boxes(served.boxes, "csv").entries}
    assert entries[first].boxes == [[64, 128, 191, 255], [0, 0, 127, 127]]
    assert entries[first].size == (256, 256)
    assert entries[second].boxes == []
    assert entries["known.png"].boxes == [[1, 2, 3, 4]]
    assert served.ask("PUT", "/api/boxes", sent)[0] == 409  # drawn meanwhile
    drawn = next(i for i in served.state()["images"] if i["image"] == first)
    assert drawn["boxes"] == [[0.25, 0.5, 0.75, 1], [0, 0, 0.5, 0.5]]
    assert drawn["stamp"] == json.loads(content)["stamp"]
    none = {"image": first, "boxes": [], "seen": drawn["stamp"]}
    assert served.ask("PUT", "/api/boxes", none)[0] == 200
    assert [line.replace('"', "") for line in served.boxes.read_text().splitlines()] == [
        line.replace('"', "") for line in before
    ]
    for image, boxes in (("known.png", []), ("x", []), (first, [[0, 0, 2, 1]]), (first, [[0, 0, 1]])):
        assert served.ask("PUT", "/api/boxes", {"image": image, "boxes": boxes, "seen": ""})[0] in (404, 422)
    assert served.ask("GET", f"/api/picture?image={first}")[1][:2] == b"\xff\xd8"  # JPEG


def test_the_command_prints_its_address_and_ends_when_interrupted(reviewed_run, tmp_path):
    code = "import sys; from flows import cli; sys.exit(cli.run(sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        code,
        "review",
        str(reviewed_run),
        "--decisions",
        str(tmp_path / "d.toml"),
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
    assert server.stdout is not None
    line = next(text for text in server.stdout if "http://" in text)
    address = re.search(r"http://127\.0\.0\.1:(\d+)/#([\w-]{40,})", line)
    assert address
    connection = HTTPConnection("127.0.0.1", int(address[1]), timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == cli.INTERRUPTED
    server.stdout.close()


def test_what_cannot_be_reviewed_is_said(reviewed_run, tmp_path, capsys):
    def refused(*words: str) -> str:
        assert cli.run(["review", *words]) == cli.WRONG_INPUT
        return " ".join(capsys.readouterr().err.split())

    assert "manifest.json" in refused(str(tmp_path))
    assert "no such folder" in refused(str(reviewed_run), "--decisions", str(tmp_path / "no" / "d.toml"))
    bad = tmp_path / "bad.toml"
    bad.write_text("version = 2")
    assert "version is 2" in refused(str(reviewed_run), "--decisions", str(bad))
    boxes = Path(tmp_path / "b.csv")
    boxes.write_text("file,x\na,1\n")
    assert "columns" in refused(
        str(reviewed_run), "--decisions", str(tmp_path / "d.toml"), "--boxes", str(boxes)
    )
