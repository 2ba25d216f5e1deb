"""HTML pages that fetch nothing: style, script and pictures are inside, and a policy allows no others."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def environment(package: str) -> Environment:
    """Templates of ``package``: everything is escaped, and a name that is not there is an error."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def assets(package: str, name: str) -> dict[str, Any]:
    """What a page's head needs: ``style`` and ``script`` of ``templates/NAME.*``, and the ``policy``.

    The policy (Content Security Policy Level 2, W3C 2016) allows only this style and script, only inline
    pictures and no network; a page without a script of its own is allowed none.
    """
    folder = resources.files(package) / "templates"
    style = (folder / f"{name}.css").read_text(encoding="utf-8")
    source = folder / f"{name}.js"
    script = source.read_text(encoding="utf-8") if source.is_file() else ""
    allowed = f"'{_digest(script)}'" if script else "'none'"
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"style": Markup(style), "script": Markup(script), "policy": policy}


def data_uri(content: bytes, mime: str) -> str:
    """``data:`` address of ``content``."""
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
