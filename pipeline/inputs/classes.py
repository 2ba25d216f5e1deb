"""Which class a person means, by id, name or index; the nearest ones when there is no such class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches

from pipeline.errors import InputError


def find_class(wanted: str, names: Sequence[str], ids: Sequence[str] = ()) -> int:
    """The label of the class called ``wanted``: an id (synset), a name, whatever the case, or else an index.

    Where classes are called by numbers, a number is a name and never an index.

    Of a name that lists synonyms, ``"tench, Tinca tinca"``, each one will do when no other class has it.

    Raises :class:`InputError` with the nearest names when there is no such class, or with all that fit.
    """
    text = wanted.strip().casefold()
    for candidates in (ids, names):
        fitting = [k for k, name in enumerate(candidates) if name.casefold() == text]
        if len(fitting) == 1:
            return fitting[0]
    numbered = any(
        name.strip().isdecimal() for name in (*ids, *names)
    )  # then a number is a name, not a place
    if text.isdecimal() and int(text) < len(names) and not numbered:
        return int(text)
    parts = [{part.strip().casefold() for part in name.split(",")} for name in names]
    fitting = [k for k, part in enumerate(parts) if text in part]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        listed = ", ".join(f"{k} ({names[k]})" for k in fitting[:5])
        raise InputError(f"class {wanted!r} fits {len(fitting)} classes: {listed}; give its index or id")
    by_part = {part: k for k, part_of in enumerate(parts) for part in part_of} | {
        name.casefold(): k for k, name in enumerate(names)
    }
    near = dict.fromkeys(names[by_part[m]] for m in get_close_matches(text, by_part, n=5, cutoff=0.5))
    hint = f"nearest: {', '.join(list(near)[:3])}" if near else f"classes: {', '.join(names[:5])}, ..."
    index = "" if numbered else f" (or give an index 0..{len(names) - 1})"
    raise InputError(f"class {wanted!r}: there is no such class; {hint}{index}")


def short_names(names: Sequence[str], ids: Sequence[str]) -> dict[str, str]:
    """``tench, Tinca tinca`` -> ``tench``: the first synonym of each synset, as WordNet lists them.

    Other names keep their commas (only where an id is that of a synset, they part synonyms), and so do those
    of classes whose first synonym is the same (ImageNet has two cranes).
    """
    firsts = {
        name: name.split(", ", 1)[0] if re.fullmatch(r"n\d{8}", i) else name
        for name, i in zip(names, ids, strict=False)
    }
    uses = Counter(firsts.values())
    return {name: first for name, first in firsts.items() if uses[first] == 1}
