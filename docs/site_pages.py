"""What the documentation site adds to the pages in docs/, as hooks of MkDocs.

README.md is its front page, and the reference of commands is made from the commands themselves, so neither is
kept twice.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import typer.cli
from mkdocs.structure.files import File, Files
from typer import Context
from typer.main import get_command

ROOT = Path(__file__).parents[1]
FRONT, COMMANDS = "index.md", "commands.md"
_OUTSIDE = re.compile(r"\[[^\]]*\]\(\.\./([^)]+)\)")
_EXAMPLE = re.compile(r"(?:^\[cyan\].*\[/\]\n*)+", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Pages that are no files in docs/."""
    files.append(File.generated(config, FRONT, content=front_page()))
    files.append(File.generated(config, COMMANDS, content=command_reference()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that leave docs/: the README is a page of the site, other files are named."""
    return _OUTSIDE.sub(r"`\1`", markdown.replace("](../README.md", f"]({FRONT}"))


def front_page() -> str:
    """README.md as a page of docs/: its links start there; what is no page stays a file's name."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    return re.sub(r"\[([^\]]*)\]\(([A-Z]+(?:\.md)?)\)", r"`\2`", text)


def command_reference() -> str:
    """Every command with its options and examples, as ``--help`` says them."""
    from flows.cli import app

    command = get_command(app)
    text = typer.cli.get_docs_for_click(obj=command, ctx=Context(command), name="hansaudit")
    for name, told in getattr(command, "commands", {}).items():
        row = rf"^\* `{re.escape(name)}`: .*$"
        text = re.sub(row, _row(name, told.help or ""), text, count=1, flags=re.MULTILINE)
    text = _EXAMPLE.sub(_as_console, html.unescape(text).replace("[bold]Examples[/bold]", "**Examples**:"))
    return text.replace("# `hansaudit`\n", "# Commands\n\nMade from `hansaudit --help`.\n", 1)


def _row(name: str, told: str) -> str:
    """A line of the list of commands: its first paragraph in full, where the terminal cuts it off."""
    summary = " ".join(told.split("\n\n")[0].split()).replace("\\", r"\\")
    return f"* [`{name}`](#hansaudit-{name}): {summary}"


def _as_console(examples: re.Match[str]) -> str:
    lines = re.findall(r"^\[cyan\](.*)\[/\]$", examples.group(), re.MULTILINE)
    return "```console\n" + "".join(f"$ {line}\n" for line in lines) + "```\n\n"
