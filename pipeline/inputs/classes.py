"""Which class a person means, by index, id or name; the nearest ones when there is no such class."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from pipeline.errors import InputError


def find_class(wanted: str, names: Sequence[str], ids: Sequence[str] = ()) -> int:
    """The label of the class called ``wanted``: an index, an id (synset) or a name, whatever the case.

    Of a name that lists synonyms, ``"tench, Tinca tinca"``, each one will do when no other class has it.

    Raises :class:`InputError` with the nearest names when there is no such class, or with all that fit.
    """
    text = wanted.strip().casefold()
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    for candidates in (ids, names):
        found = [k for k, name in enumerate(candidates) if name.casefold() == text]
        if len(found) == 1:
            return found[0]
    parts = [{part.strip().casefold() for part in name.split(",")} for name in names]
    found = [k for k, part in enumerate(parts) if text in part]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{k} ({names[k]})" for k in found[:5])
        raise InputError(f"class {wanted!r} fits {len(found)} classes: {listed}; give its index or id")
    known = {part: k for k, part_of in enumerate(parts) for part in part_of} | {
        name.casefold(): k for k, name in enumerate(names)
    }
    near = dict.fromkeys(names[known[m]] for m in get_close_matches(text, known, n=5, cutoff=0.5))
    hint = f"nearest: {', '.join(list(near)[:3])}" if near else f"classes: {', '.join(names[:5])}, ..."
    raise InputError(
        f"class {wanted!r}: there is no such class; {hint} (or give an index 0..{len(names) - 1})"
    )
