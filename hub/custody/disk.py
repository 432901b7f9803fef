"""Custody on a disk of this machine, or on one that all machines mount.

Published with a hard link: it makes the name, or fails because the name is there, and the content was synced before.
The object-store library's own disk store does not sync what it writes, so it is not used here.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, TypeVar

from hub.custody import CHUNK
from hub.errors import CustodyUnavailable

T = TypeVar("T")

STAGING: Final = ".incoming"
_FOLDER, _FILE = 0o700, 0o600


class DiskCustody:
    """``hub.custody.Custody`` below a directory.

    Args:
        root: the directory; made where it is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / STAGING

    async def start(self) -> None:
        """Makes the directory, and sweeps it; a disk that is away is met by whoever publishes."""

        def prepare() -> None:
            self._staging.mkdir(_FOLDER, parents=True, exist_ok=True)
            _sweep(self._staging)

        with contextlib.suppress(CustodyUnavailable):
            await self._do(prepare)

    async def publish(self, key: str, source: Path, sha256: str, content_type: str) -> bool:
        """See ``hub.custody.Custody``."""
        del content_type  # the manifest has it
        return await self._do(lambda: self._publish(self._path(key), source, sha256))

    async def write(self, key: str, body: bytes) -> None:
        """See ``hub.custody.Custody``."""
        await self._do(lambda: self._write(self._path(key), body))

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """See ``hub.custody.Custody``."""
        file = await self._do(lambda: self._path(key).open("rb"))
        try:
            await self._do(lambda: file.seek(start))
            while start < stop:
                wanted = min(CHUNK, stop - start)
                piece = await self._do(lambda wanted=wanted: file.read(wanted))  # type: ignore[misc]
                if not piece:
                    return
                start += len(piece)
                yield piece
        finally:
            file.close()

    async def size(self, key: str) -> int | None:
        """See ``hub.custody.Custody``."""

        def look() -> int | None:
            try:
                return self._path(key).stat().st_size
            except FileNotFoundError:
                return None

        return await self._do(look)

    async def delete(self, key: str) -> None:
        """See ``hub.custody.Custody``."""

        def remove() -> None:
            path = self._path(key)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                _sync_folder(path.parent)

        await self._do(remove)

    async def presigned(self, key: str, seconds: int) -> str | None:  # noqa: ARG002  a disk has no door
        """None: a disk is served by the hub."""
        return None

    async def check(self) -> str:
        """See ``hub.custody.Custody``."""

        def probe() -> str:
            path = self._staging / f"probe.{token_hex(8)}"
            self._write(path, b"probe")
            path.unlink()
            return f"{self.root} can be written, {shutil.disk_usage(self.root).free >> 20} MiB free"

        return await self._do(probe)

    async def close(self) -> None:
        """Nothing is open."""

    # --- in a thread -------------------------------------------------------------------------------------------------

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise unusable(error, self.root) from error

    def _path(self, key: str) -> Path:
        path = self.root / key
        if ".." in path.parts or not path.is_relative_to(self.root):
            raise ValueError(f"{key!r} leads out of {self.root}")
        return path

    def _publish(self, target: Path, source: Path, sha256: str) -> bool:
        with source.open("rb") as file:
            os.fsync(file.fileno())
        _make_folder(target.parent)
        if target.exists():
            return self._known(target, sha256)
        staged = source
        try:
            try:
                os.link(source, target)
            except OSError as error:
                if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                    raise
                staged = self._copied(source)  # the other file system's, or one without links
                os.link(staged, target)
        except FileExistsError:
            return self._known(target, sha256)
        finally:
            if staged is not source:
                staged.unlink(missing_ok=True)
        _sync_folder(target.parent)
        return True

    def _known(self, target: Path, sha256: str) -> bool:
        """Whether the file is new: never; its content is what its name says, or nothing is to be built on it."""
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise CustodyUnavailable(f"{target} does not have the content of its name: it was changed; move it away")
        _sync_folder(target.parent)  # whoever made it may have died before
        return False

    def _copied(self, source: Path) -> Path:
        staged = self._staging / f"copy.{token_hex(8)}"
        staged.parent.mkdir(_FOLDER, parents=True, exist_ok=True)
        with source.open("rb") as file, _created(staged) as copy:
            shutil.copyfileobj(file, copy, CHUNK)
            copy.flush()
            os.fsync(copy.fileno())
        return staged

    def _write(self, target: Path, body: bytes) -> None:
        _make_folder(target.parent)
        self._staging.mkdir(_FOLDER, parents=True, exist_ok=True)
        staged = self._staging / f"text.{token_hex(8)}"
        try:
            with _created(staged) as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            staged.rename(target)
        finally:
            staged.unlink(missing_ok=True)
        _sync_folder(target.parent)


def unusable(error: OSError, place: Path) -> CustodyUnavailable:
    """What an operator reads."""
    return CustodyUnavailable(f"{place}: {error.strerror or error}")


def _created(path: Path) -> Any:
    """A new file, locked for as long as whoever writes it lives."""
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE), "wb")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _sweep(folder: Path) -> None:
    """Removes what killed processes left half written: their locks went with them."""
    for path in folder.iterdir():
        if path.is_file():
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """With those above it, each synced into the one above."""
    missing = [folder]
    while not missing[-1].exists():
        missing.append(missing[-1].parent)
    for one in reversed(missing[:-1]):
        one.mkdir(_FOLDER, exist_ok=True)
        _sync_folder(one.parent)


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
