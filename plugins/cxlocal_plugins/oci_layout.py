"""An image as one file whose bytes follow from its manifest: an OCI layout, packed in one order.

Archives of images differ each time they are written; blobs and manifests do not. Packed like this, the same
manifest gives the same file wherever it comes from: the builder, or a registry it was brought back from.
The layout: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import Any

from cxlocal.hooks.tool import ToolFailure
from cxlocal.values import NamedTuple

MANIFEST_BYTES = 4 * 1024 * 1024
"""What registries take of one, at most."""
DESCRIPTORS = ("config", "layers", "manifests")
"""Where a manifest, or an index of several, names blobs."""
_ENTRY = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")
MARKER = ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')


def pack(layout: Path, file: Path) -> str:
    """Write the one image of a layout into ``file``; the digest of its manifest. Raises ToolFailure for a
    layout with another number of images, or with bytes that are not those of their digest."""
    top = _top(layout)
    index = json.dumps({"schemaVersion": 2, "manifests": [top]}, sort_keys=True).encode()
    digests = sorted(set(_named(layout, top)))
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in (MARKER, ("index.json", index)):
            archive.addfile(_entry(name, len(content)), io.BytesIO(content))
        for digest in digests:
            blob = _blob(layout, digest)
            with blob.open("rb") as opened:
                entry = _entry(f"blobs/sha256/{blob.name}", blob.stat().st_size)
                archive.addfile(entry, opened)
    return str(top["digest"])


def unpack(file: Path, layout: Path) -> str:
    """Lay an image out in the folder ``layout``; the digest of its manifest. Raises ToolFailure for anything
    that ``pack`` does not write."""
    (layout / "blobs" / "sha256").mkdir(parents=True)
    try:
        with tarfile.open(file, "r:") as archive:
            for entry in archive:
                plain = entry.isreg() and _ENTRY.fullmatch(entry.name)  # no link leads out of it
                content = archive.extractfile(entry) if plain else None
                if content is None:
                    raise ToolFailure(f"{file.name} is no packed image: it has {entry.name!r}")
                with content, (layout / entry.name).open("wb") as out:
                    shutil.copyfileobj(content, out)
    except (OSError, tarfile.TarError) as error:
        raise ToolFailure(f"{file.name} is no packed image: {error}") from error
    top = _top(layout)
    for digest in _named(layout, top):
        _blob(layout, digest)
    return str(top["digest"])


class Identity(NamedTuple):
    """What an image is known by."""

    digest: str
    """Of its manifest: the same at every registry."""
    id: str
    """Of its configuration: what engines call it. Empty for an index of several images."""


def identity_of(file: Path) -> Identity:
    """Read from a packed image whose bytes were compared. Raises ToolFailure."""
    try:
        with tarfile.open(file, "r:") as archive:
            digest = _read(archive, "index.json")["manifests"][0]["digest"]
            manifest = _read(archive, f"blobs/sha256/{digest.removeprefix('sha256:')}")
    except (OSError, ValueError, KeyError, IndexError, TypeError, tarfile.TarError) as error:
        raise ToolFailure(f"{file.name} is no packed image: {error}") from error
    return Identity(
        digest, str(manifest.get("config", {}).get("digest", "")).removeprefix("sha256:")
    )


def _read(archive: tarfile.TarFile, name: str) -> Any:
    content = archive.extractfile(name)
    assert content is not None  # a file, else it has no bytes
    with content:
        return json.loads(content.read(MANIFEST_BYTES))


def _top(layout: Path) -> dict[str, Any]:
    """The descriptor of the one image, without what only this copy is called."""
    try:
        images = json.loads((layout / "index.json").read_bytes())["manifests"]
        [top] = images
        return {key: top[key] for key in ("mediaType", "digest", "size")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolFailure(f"there is no image in this layout, or more than one: {error}") from error


def _named(layout: Path, top: dict[str, Any]) -> Iterator[str]:
    """The digests of a manifest and of all that it names."""
    waiting = [top]
    while waiting:
        one = waiting.pop()
        digest = str(one["digest"])
        yield digest
        if one is top or "manifest" in str(one.get("mediaType", "")):
            manifest = _manifest(layout, digest)
            for key in DESCRIPTORS:
                named = manifest.get(key, [])
                waiting += named if isinstance(named, list) else [named]


def _manifest(layout: Path, digest: str) -> dict[str, Any]:
    blob = _blob(layout, digest)
    if blob.stat().st_size > MANIFEST_BYTES:
        raise ToolFailure(f"the manifest {digest} is larger than {MANIFEST_BYTES} bytes")
    try:
        manifest = json.loads(blob.read_bytes())
    except ValueError as error:
        raise ToolFailure(f"the manifest {digest} cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise ToolFailure(f"the manifest {digest} is none")
    return manifest


def _blob(layout: Path, digest: str) -> Path:
    """A blob, whose bytes are compared with its digest."""
    kind, _, name = digest.partition(":")
    path = layout / "blobs" / "sha256" / name
    if kind != "sha256" or not name.isalnum() or not path.is_file():
        raise ToolFailure(f"the image names {digest}, which is not in it")
    with path.open("rb") as opened:
        found = file_digest(opened, "sha256").hexdigest()
    if found != name:
        raise ToolFailure(f"the bytes of {digest} are those of sha256:{found}")
    return path


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry
