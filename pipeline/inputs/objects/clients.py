"""What a store is asked for, once: a page of a list, the state of an object, a range of its bytes.

Clients' own repetitions are off where they can be: :mod:`pipeline.inputs.objects.store` repeats and counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pipeline.errors import InputError, reason

CONNECTIONS: Final = 32  # at the same time, of one process
_PACKAGES: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}  # protocol -> extra of this package
_S3: Final = ("s3", "s3a")
_WHOLE_LIST: Final = 600.0  # seconds more where a list comes in one call, whatever its length


@dataclass(frozen=True)
class State:
    """What identifies an object's content: its ``size``, and the store's ``tag`` (ETag; "" without one)."""

    size: int
    tag: str = ""


@dataclass(frozen=True)
class Page:
    """A part of a list: (name below the folder, state), and how the next part is asked for; None: the end."""

    entries: list[tuple[str, State]]
    further: Any = None


class Client(Protocol):
    """One request per call; every URL begins with the client's protocol. Raises what its library does."""

    def page(self, url: str, further: Any, seconds: float) -> Page:
        """Objects at any depth below the folder ``url``."""

    def state(self, url: str, seconds: float) -> State:
        """Of an object. Raises FileNotFoundError."""

    def read(self, url: str, state: State, span: range, seconds: float) -> bytes:
        """Its bytes at the positions ``span``, if it still is as ``state`` says where that can be asked."""


def open_client(url: str) -> Client:
    """A client of this process alone for the store of ``url``: none may cross a fork.

    Raises :class:`InputError` for a protocol that nobody knows, and where its package is not installed.
    """
    import fsspec

    protocol = url.partition("://")[0].lower()
    try:
        kind: Any = fsspec.get_filesystem_class(protocol)
        return S3Client(kind) if protocol in _S3 else AnyClient(kind)
    except ImportError as error:
        extra = _PACKAGES.get(protocol)
        way_out = f"pip install 'hansaudit[{extra}]'" if extra else reason(error)
        raise InputError(f"{url}: the package for {protocol}:// is not installed; {way_out}") from None
    except ValueError as error:
        raise InputError(
            f"{url}: cannot be opened: {reason(error)}; valid: s3://, gs:// and fsspec's others"
        ) from None


class S3Client:
    """S3 through s3fs: objects are asked for by their ETag, so that what has changed is never mixed."""

    def __init__(self, kind: Any) -> None:
        from fsspec.config import conf

        own = conf.get("s3", {}).get("config_kwargs", {})  # of the user's environment
        config = {"max_pool_connections": CONNECTIONS, **own, "retries": {"total_max_attempts": 1}}
        self._fs = kind(config_kwargs=config, skip_instance_cache=True)
        self._fs.retries = 1

    def page(self, url: str, further: Any, seconds: float) -> Page:
        bucket, _, key = _s3_place(url)
        prefix = f"{key}/" if key else ""
        more = {"ContinuationToken": further} if further else {}
        answer = self._call("list_objects_v2", seconds, Bucket=bucket, Prefix=prefix, **more)
        entries = [
            (str(item["Key"])[len(prefix) :], State(int(item["Size"]), str(item.get("ETag", ""))))
            for item in answer.get("Contents", [])
            if str(item["Key"]).startswith(prefix)
        ]
        return Page(entries, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None)

    def state(self, url: str, seconds: float) -> State:
        bucket, _, key = _s3_place(url)
        answer = self._call("head_object", seconds, Bucket=bucket, Key=key)
        return State(int(answer["ContentLength"]), str(answer.get("ETag", "")))

    def read(self, url: str, state: State, span: range, seconds: float) -> bytes:
        bucket, _, key = _s3_place(url)
        asked = {"Range": f"bytes={span.start}-{span.stop - 1}"}
        if state.tag:
            asked["IfMatch"] = state.tag
        return self._wait(self._content, seconds, state, len(span), Bucket=bucket, Key=key, **asked)

    async def _content(self, state: State, size: int, **asked: str) -> bytes:
        """The body of an answer that is what was asked for: some stores do not know every header."""
        answer = await self._fs._call_s3("get_object", **asked)  # fsspec's names of what is awaited
        async with answer["Body"] as body:
            other = state.tag and str(answer.get("ETag", "")).strip('"') != state.tag.strip('"')
            if other or int(answer["ContentLength"]) > size:
                raise Changed(asked["Key"])
            return await body.read()

    def _call(self, method: str, seconds: float, **asked: Any) -> dict[str, Any]:
        return self._wait(self._fs._call_s3, seconds, method, **asked)

    def _wait(self, call: Callable[..., Any], seconds: float, *given: Any, **asked: Any) -> Any:
        from fsspec.asyn import sync

        return sync(self._fs.loop, call, *given, timeout=seconds, **asked)


def _s3_place(url: str) -> tuple[str, str, str]:
    """bucket, "/", key."""
    return url.partition("://")[2].strip("/").partition("/")


class AnyClient:
    """Any other store that fsspec knows; what has changed is told by its size."""

    def __init__(self, kind: Any) -> None:
        self._fs = kind(skip_instance_cache=True, use_listings_cache=False)

    def page(self, url: str, further: Any, seconds: float) -> Page:
        root = self._fs._strip_protocol(url).rstrip("/") + "/"
        listed = self._call("find", seconds + _WHOLE_LIST, self._fs._strip_protocol(url), detail=True)
        return Page(
            [
                (name.removeprefix(root), _state(entry))
                for name, entry in listed.items()
                if name.startswith(root)
            ]
        )

    def state(self, url: str, seconds: float) -> State:
        entry = self._call("info", seconds, self._fs._strip_protocol(url))
        if entry.get("type") != "file":
            raise FileNotFoundError(url)
        return _state(entry)

    def read(self, url: str, state: State, span: range, seconds: float) -> bytes:
        # one byte more than there is to be, at the end: an object that has grown shows
        end = span.stop + (span.stop == state.size)
        place = self._fs._strip_protocol(url)
        data: bytes = self._call("cat_file", seconds, place, start=span.start, end=end)
        if len(data) > len(span):
            raise Changed(url)
        return data

    def _call(self, method: str, seconds: float, *given: Any, **asked: Any) -> Any:
        from fsspec.asyn import sync

        if self._fs.async_impl:
            return sync(self._fs.loop, getattr(self._fs, f"_{method}"), *given, timeout=seconds, **asked)
        return getattr(self._fs, method)(*given, **asked)


class Changed(Exception):
    """An object is another one than was listed."""


def _state(entry: dict[str, Any]) -> State:
    """Of fsspec's description of a file; a size that is not known is 0 and shows when it is read."""
    tag = next(
        (str(entry[name]) for name in ("ETag", "etag", "md5Hash", "generation") if entry.get(name)), ""
    )
    return State(int(entry.get("size") or 0), tag)
