"""The server of a review: a page, what it asks for, what it writes. Behind :mod:`reports.review.guard`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import InputError
from pipeline.run.folder import REPORT, RunFolder
from reports.decisions.book import ChangedMeanwhile
from reports.inline import assets, environment
from reports.review.classes import Decided, ReviewedClasses, entry_json
from reports.review.drawing import BoxesChanged, BoxesFile, Drawn
from reports.review.guard import App, Guard, Keys
from reports.review.pictures import Pictures

# a report comes with the run: it may show itself, and reach nothing of this server
_REPORT_POLICY: Final = "sandbox allow-scripts allow-popups; frame-ancestors 'self'"
_NO_REPORT: Final = (
    "<!doctype html><title>No report</title><p>The run has no report.html; `hansaudit report` makes it."
)


@dataclass(frozen=True)
class Review:
    """What is reviewed: the run's classes, and the boxes to draw where there are ``boxes``."""

    folder: RunFolder
    classes: ReviewedClasses
    reviewer: str
    decisions_file: str
    boxes: BoxesFile | None = None
    pictures: Pictures | None = None
    today: Callable[[], date] = date.today


class Token(BaseModel):
    """What the printed address holds behind its ``#``."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=200)


def review_app(review: Review, keys: Keys) -> App:
    """The ASGI application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _faults(app)
    _page(app, keys)
    _decisions(app, review)
    _boxes(app, review)
    return Guard(app, keys)


def _fault(status: int, said: str, **more: Any) -> JSONResponse:
    return JSONResponse({"fault": said, **more}, status)


def _faults(app: FastAPI) -> None:
    """Every refusal is one line of JSON."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return _fault(422, f"{place or 'body'}: {first['msg']}")

    @app.exception_handler(ChangedMeanwhile)
    async def changed(_: Request, error: ChangedMeanwhile) -> JSONResponse:
        return _fault(409, str(error), entry=entry_json(error.now))

    @app.exception_handler(BoxesChanged)
    async def drawn(_: Request, error: BoxesChanged) -> JSONResponse:
        return _fault(409, str(error))

    @app.exception_handler(KeyError)
    async def unknown(_: Request, error: KeyError) -> JSONResponse:
        return _fault(404, "there is nothing of this name in the run")

    @app.exception_handler(ValueError)
    async def wrong(_: Request, error: ValueError) -> JSONResponse:
        return _fault(500 if isinstance(error, InputError) else 422, str(error))


def _page(app: FastAPI, keys: Keys) -> None:
    inside = assets("reports.review", "review")
    policy = inside["policy"].replace("img-src data:", "img-src 'self' data:")
    policy += "; connect-src 'self'; frame-src 'self'; frame-ancestors 'none'"
    shell = environment("reports.review").get_template("review.html.j2").render(**inside)

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(shell, headers={"content-security-policy": policy})

    @app.post("/api/session")
    def session(sent: Token) -> JSONResponse:
        if not keys.opens(sent.token):
            return _fault(401, "this is not the token that was printed")
        answer = JSONResponse({})
        answer.set_cookie(keys.cookie, keys.session, httponly=True, samesite="strict")
        return answer


def _decisions(app: FastAPI, review: Review) -> None:
    @app.get("/api/state")
    def state() -> dict[str, Any]:
        return {
            "run": review.folder.path,
            "reviewer": review.reviewer,
            "file": review.decisions_file,
            "classes": review.classes.state(),
            "images": review.boxes.state() if review.boxes else [],
            "boxes": str(review.boxes.path) if review.boxes else "",
        }

    @app.put("/api/decision")
    def decide(sent: Decided) -> dict[str, Any]:
        return {"entry": entry_json(review.classes.decide(sent, review.today()))}

    @app.get("/report")
    def report() -> Response:
        content = review.folder.files.get(REPORT)
        headers = {"content-security-policy": _REPORT_POLICY}
        return HTMLResponse(
            _NO_REPORT if content is None else content, 404 if content is None else 200, headers
        )


def _boxes(app: FastAPI, review: Review) -> None:
    @app.get("/api/picture")
    def picture(image: str) -> Response:
        if review.boxes is None or review.pictures is None:
            raise KeyError(image)
        jpeg = review.pictures.jpeg(review.boxes.image(image))
        return (
            _fault(404, "the run stores no picture of it")
            if jpeg is None
            else Response(jpeg, 200, None, "image/jpeg")
        )

    @app.put("/api/boxes")
    def draw(sent: Drawn) -> dict[str, Any]:
        if review.boxes is None:
            raise KeyError(sent.image)
        return {"stamp": review.boxes.put(sent)}
