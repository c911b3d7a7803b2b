"""Keys as objects in a bucket, by obstore (the extra ``s3``).

An object is put with the condition ``If-None-Match: *``. A server that ignores it is found by the
probe and refused (``cxlocal_sync.keys.space``).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cxlocal.address import public_address
from cxlocal.errors import ConfigError
from cxlocal.extras import how_to_install
from cxlocal_sync.keys.space import (
    CONTENT_BYTES_MAX,
    SpaceError,
    SpaceMissing,
    SpaceUnclear,
    too_long,
)
from cxlocal_sync.surroundings import CERTIFICATES, PROXIES, blamed, proxy_for

OPTIONS = ("endpoint", "region")
"""What the address may name behind ``?``; credentials never stand there."""


AMAZON = "https://s3.amazonaws.com"
"""Where a bucket without an endpoint lies, as far as a proxy is concerned."""


class ObjectSpace:
    """Keys below ``s3://bucket/prefix``. ``seconds`` bound each request."""

    readers = 16

    def __init__(self, url: str, seconds: float) -> None:
        self._errors, self._obstore, self._store = _open(url, seconds)
        self._server = dict(parts_of(url)[2]).get("endpoint") or AMAZON

    def get(self, key: str) -> bytes | None:
        """The content of a key, or None."""
        try:
            found = self._call("get", key)
            if found.meta["size"] > CONTENT_BYTES_MAX:
                raise SpaceError(too_long(key))
            return bytes(found.bytes())
        except FileNotFoundError:
            return None
        except self._errors.BaseError as error:
            raise self._explained(error) from error

    def put_new(self, key: str, content: bytes) -> bool:
        """Write an object on the condition that there is none."""
        try:
            self._call("put", key, content, mode="create", use_multipart=False)
        except self._errors.AlreadyExistsError:
            return False
        except self._errors.BaseError as error:
            found = self._explained(error)
            # The request may have arrived all the same; only a clear answer says it did not.
            raise found if _is_clear(error, self._errors) else SpaceUnclear(str(found)) from error
        return True

    def put(self, key: str, content: bytes) -> None:
        """Write an object whether it exists or not."""
        try:
            self._call("put", key, content, use_multipart=False)
        except self._errors.BaseError as error:
            raise self._explained(error) from error

    def names(self, folder: str) -> list[str]:
        """The last parts of the names right below ``folder``."""
        try:
            found = self._call("list_with_delimiter", f"{folder}/")
        except FileNotFoundError:
            return []
        except self._errors.BaseError as error:
            raise self._explained(error) from error
        paths = [str(each["path"]) for each in found["objects"]]
        paths += [str(each) for each in found["common_prefixes"]]
        return [path.rstrip("/").rpartition("/")[2] for path in paths]

    def remove(self, key: str) -> None:
        """Take an object away."""
        try:
            self._call("delete", key)
        except FileNotFoundError:
            return
        except self._errors.BaseError as error:
            raise self._explained(error) from error

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        """Ask the library. It panics over variables whose text no header can carry, and what it says of
        that is no Exception."""
        try:
            return getattr(self._obstore, name)(self._store, *args, **options)
        except (Exception, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as panic:
            about = blamed("", os.environ, VARIABLES)
            raise SpaceUnclear(f"the request cannot be made: {panic} ({about})") from panic

    def _explained(self, error: Exception) -> SpaceError:
        """What went wrong in words, without addresses and headers."""
        found = _explained(error)
        proxy = proxy_for(self._server, os.environ)
        if proxy is None or not isinstance(found, NoConnection):
            return found
        return SpaceError(f"the proxy {proxy.address} ({proxy.variable}) {found.said}")

    def close(self) -> None:
        """Nothing is held between two messages but idle connections."""


def _open(url: str, seconds: float) -> tuple[Any, Any, Any]:
    try:
        import obstore
        from obstore import exceptions
        from obstore.store import S3Store
    except ImportError as error:
        raise ConfigError(
            f"the store {url} needs a library that is not installed",
            why="obstore speaks to object storage",
            hint=how_to_install("s3"),
            name="missing-library",
        ) from error
    bucket, prefix, options = parts_of(url)
    settings = dict(options)
    if settings.get("endpoint", "").startswith("http://"):
        settings["allow_http"] = "true"
    wait = timedelta(seconds=max(seconds, 0.1))
    with _setting_up():
        store = S3Store(
            bucket,
            prefix=prefix or None,
            config=settings,  # type: ignore[arg-type]
            client_options={"timeout": wait, "connect_timeout": min(wait, timedelta(seconds=2))},
            retry_config={
                "max_retries": 2,
                "retry_timeout": wait,
                "backoff": {
                    "init_backoff": timedelta(milliseconds=50),
                    "max_backoff": timedelta(milliseconds=400),
                    "base": 2,
                },
            },
        )
    return exceptions, obstore, store


VARIABLES = ("AWS_*", *PROXIES, *CERTIFICATES)


@contextlib.contextmanager
def _setting_up() -> Iterator[None]:
    """What the library raises because of a variable, as SpaceError. A panic of the library is no
    Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        text = str(error).partition("Debug source")[0]
        about = blamed(text, os.environ, VARIABLES)
        said = " ".join(text.split())[:200]
        raise SpaceError(
            f"no contact can be set up: {said}" + (f" ({about})" if about else "")
        ) from error


def parts_of(url: str) -> tuple[str, str, Mapping[str, str]]:
    """Bucket, prefix and options of ``s3://bucket/prefix?endpoint=…&region=…``. Raises
    ConfigError."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - set(OPTIONS))
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or unknown:
        raise ConfigError(
            f"the store address {public_address(url)!r} cannot be understood",
            why=f"it names {', '.join(unknown)}" if unknown else "it names no bucket",
            hint="write s3://BUCKET/PREFIX, and ?endpoint=URL&region=NAME where it is not Amazon's;"
            " credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            name="bad-store-url",
        )
    return parts.netloc, parts.path.strip("/"), options


def _is_clear(error: Exception, errors: Any) -> bool:
    """Whether the server said no, rather than nothing."""
    clear = (
        errors.PermissionDeniedError, errors.UnauthenticatedError, errors.PreconditionError,
        FileNotFoundError,
    )  # fmt: skip
    return isinstance(error, clear)


class NoConnection(SpaceError):
    """No answer came; ``said`` says what was seen instead."""

    def __init__(self, said: str) -> None:
        super().__init__(f"its server {said}")
        self.said = said


def _explained(error: Exception) -> SpaceError:
    """What went wrong in words, without addresses and headers."""
    text = " ".join(str(error).split())
    code = next(iter(re.findall(r"<Code>(\w+)</Code>", text)), "")
    status = next(iter(re.findall(r"status code: (\d+ [\w ]+)", text)), "")
    if isinstance(error, PermissionError) or status.startswith(("401", "403")):
        return SpaceError("the server does not accept the credentials (AWS_ACCESS_KEY_ID …)")
    if code == "NoSuchBucket":
        return SpaceMissing("there is no such bucket")
    if not status and ("error sending request" in text or "timed out" in text):
        # What the system said of the connection stands innermost in the error's own description.
        system = re.findall(r'\b(?:message|error): "([^"]+)"', text)
        late = "TimedOut" in text or "timed out" in text
        said = "did not answer in time" if late else "does not answer"
        return NoConnection(said + (f" ({system[-1]})" if system else ""))
    return SpaceError(f"its server said {code} ({status})" if status else text[:200])
