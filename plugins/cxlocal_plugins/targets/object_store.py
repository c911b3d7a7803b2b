"""The tool ``object-store``: files of a version in a bucket that speaks S3.

An object is written on the condition that there is none, so nothing is ever replaced; what is there is read and
hashed.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

from cxlocal.errors import Trouble
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    ArtifactRef,
    Context,
    Held,
    Holdings,
    Published,
    Tool,
    ToolFailure,
    Withdrawn,
)
from cxlocal_plugins.targets.web import secret_of, unknown

_NO_RIGHT = re.compile(r"\b(?:status code: 40[13]|InvalidAccessKeyId|SignatureDoesNotMatch)\b")
"""Of what a store says; a number alone may be of a port."""
_NO_KEY = re.compile(
    r"status code: 404 [\w ]+: \s*(?:<\?xml[^>]*\?>)?\s*<Error\b[^>]*>.*?<Code>NoSuchKey</Code>",
    re.DOTALL,
)
"""What S3 says of an object that is not there. A bucket that is missing, or a page of somebody before it, is no
such word (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""
SECONDS = 300.0
"""For one object, at most."""


class ObjectStore(Tool):
    """Amazon S3, or a server that speaks as it does and honours conditions."""

    name = "object-store"
    api = 2
    title = "Bucket"

    class Options(Tool.Options, frozen=True):
        """``below`` may hold ``{version}``. ``key`` and ``secret`` name secrets."""

        bucket: str
        below: str = "{version}"
        endpoint: str = ""
        region: str = ""
        key: str = ""
        secret: str = ""

    def ask(self, ctx: Context) -> Holdings:
        """The digest of each object as it is there."""
        bucket = _Bucket(ctx)
        return Holdings(
            files={name: bucket.held(one) for name, one in ctx.artifacts.items()}, refuses=True
        )

    def publish(self, ctx: Context) -> Published:
        """Write what is missing."""
        bucket = _Bucket(ctx)
        for name in ctx.put:
            bucket.put(ctx.artifacts[name])
        return Published()

    def withdraw(self, ctx: Context) -> Withdrawn:
        """What was linked to stays readable: taking it away is a person's decision."""
        bucket = _Bucket(ctx)
        return Withdrawn(address=" ".join(bucket.address(one) for one in ctx.artifacts.values()))


class _Bucket:
    """The bucket of one call."""

    def __init__(self, ctx: Context) -> None:
        try:
            import obstore
            from obstore import exceptions
            from obstore.store import S3Store
        except ImportError as error:
            raise Trouble(
                "obstore is not installed beside cxlocal",
                why="it speaks to object storage",
                hint="pip install 'cxlocal[s3]'",
            ) from error
        options = ctx.options
        self._below = options.below.replace("{version}", ctx.version).strip("/")
        self._name, self._obstore, self._errors = options.bucket, obstore, exceptions
        told = {
            "endpoint": options.endpoint, "region": options.region,
            "access_key_id": secret_of(ctx, options.key),
            "secret_access_key": secret_of(ctx, options.secret),
        }  # fmt: skip
        config: Any = {name: value for name, value in told.items() if value}
        if options.endpoint.startswith("http://"):
            config["allow_http"] = "true"
        wait = timedelta(seconds=min(SECONDS, max(1.0, ctx.timeout)))
        self._store: Any = S3Store(
            options.bucket, config=config,
            client_options={"timeout": wait, "connect_timeout": timedelta(seconds=10)},
            retry_config={"max_retries": 1, "retry_timeout": wait},
        )  # fmt: skip

    def address(self, one: ArtifactRef) -> str:
        """Where a file is."""
        return f"s3://{self._name}/{self._path(one)}"

    def held(self, one: ArtifactRef) -> Held:
        """What is there of a file."""
        wanted, digest = f"sha256:{one.sha256}", hashlib.sha256()
        try:
            for chunk in self._obstore.get(self._store, self._path(one)):
                digest.update(chunk)
        except Exception as error:  # noqa: BLE001  (whatever it is, nothing is known)
            if isinstance(error, FileNotFoundError) and _NO_KEY.search(str(error)):
                return Held(state="absent", wanted=wanted)
            return unknown(self._words(error), self._trouble(error), wanted)
        held = f"sha256:{digest.hexdigest()}"
        return Held.compared(wanted, held, location=self.address(one))

    def put(self, one: ArtifactRef) -> None:
        """Write a file where there is none. Raises ToolFailure."""
        try:
            self._obstore.put(
                self._store, self._path(one), one.path, mode="create", use_multipart=False
            )
        except self._errors.AlreadyExistsError:
            return  # What is there is asked for anyway.
        except Exception as error:
            raise ToolFailure(self._words(error), trouble=self._trouble(error)) from error

    def _path(self, one: ArtifactRef) -> str:
        return f"{self._below}/{one.path.name}".lstrip("/")

    def _words(self, error: Exception) -> str:
        return " ".join(str(error).partition("Debug source")[0].split())[:300]

    def _trouble(self, error: Exception) -> Any:
        no_right = (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError)
        denied = isinstance(error, no_right) or _NO_RIGHT.search(str(error))
        return "credential" if denied else "unreached"


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [ObjectStore]
