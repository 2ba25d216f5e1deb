"""Hashes that a file of a run carries of itself: they notice an accident or an edit, not a forger.

Anyone may write a file anew with its right hash: what is received from strangers stays untrusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

INVENTORY: Final = "inventory"  # key of a manifest all of whose finished shards have inventories
HASH: Final = "sha256"  # key of a JSON document under which it carries its own


def bytes_hash(raw: bytes) -> str:
    """sha256 of a file's bytes, in hex."""
    return sha256(raw).hexdigest()


def content_hash(content: Mapping[str, Any]) -> str:
    """sha256 of ``content`` as canonical JSON (sorted, compact, ASCII), its own hash left out.

    >>> content_hash({"b": 1, "a": (2.0,)}) == content_hash({"a": [2.0], "b": 1, "sha256": "00"})
    True
    """
    plain = json.loads(json.dumps({k: v for k, v in content.items() if k != HASH}))
    return sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hashed(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with its own hash, last."""
    return {k: v for k, v in content.items() if k != HASH} | {HASH: content_hash(content)}


def is_altered(content: Mapping[str, Any]) -> bool:
    """Whether ``content`` carries a hash that is not its own; False where it carries none."""
    return content.get(HASH) is not None and content[HASH] != content_hash(content)


def carries_hash(raw: bytes | None) -> bool:
    """Whether a JSON document, given as bytes, carries a hash at all; True for what is no such document."""
    try:
        content = json.loads(raw or b"")
    except (ValueError, RecursionError):
        return True  # which is another fault
    return not isinstance(content, dict) or content.get(HASH) is not None
