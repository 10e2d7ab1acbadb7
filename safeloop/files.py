"""Write files so that a crash, a kill or a full disk loses no recorded data, and report such faults in one line."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safeloop.errors import UsageError

SEAL = b"safeloop checkpoint, sha256 "
"""Start of a sealed file; after it come the hexadecimal digest of all bytes after the line, and the line's end."""
SEAL_LENGTH = len(SEAL) + 64 + 1

REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "allow larger files",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EIO: "check the disk",
    errno.ENOENT: "put it back",
    errno.ENOTDIR: "put it back",
    errno.ESTALE: "put it back",
}
"""Faults of the disk that holds a run's folder, and the remedy for each."""


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to `path` so that there is always the whole old file or the whole new one, even after a crash.

    Raises `OSError` with the file's name where it can't; only the old file is left then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _named(path), open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with _named(path):
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def remove_temporary(folder: Path) -> None:
    """Remove the files that killed processes were writing in `folder`. No other process may be writing there."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            path.unlink()


def append(path: Path, data: bytes) -> None:
    """Add `data` at the end. Raises `OSError` with the file's name where it can't; the file is unchanged then."""
    before = path.stat().st_size if path.exists() else 0
    try:
        with _named(path), open(path, "ab", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
    except OSError:
        with suppress(OSError):
            os.truncate(path, before)
        raise


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add the file's name to errors of writing, which often lack it."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def sealed(content: io.BytesIO) -> memoryview:
    """Return all of `content`, with its first `SEAL_LENGTH` bytes replaced by a seal of the rest."""
    view = content.getbuffer()
    view[:SEAL_LENGTH] = SEAL + hashlib.sha256(view[SEAL_LENGTH:]).hexdigest().encode() + b"\n"
    return view


def unsealed(data: bytes) -> memoryview:
    """Return the sealed content, or all of `data` where it has no seal.

    Raises `ValueError` where the content is not as it was sealed.
    """
    view = memoryview(data)
    if not data.startswith(SEAL):
        return view  # written before there were seals
    content = view[SEAL_LENGTH:]
    if data[len(SEAL) : SEAL_LENGTH] != hashlib.sha256(content).hexdigest().encode() + b"\n":
        raise ValueError("its checksum differs")
    return content


def check_path(path: str | Path, option: str = "") -> Path:
    """Return the path, which need not exist. Raises `UsageError` where the system refuses it (as a name too long)."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{option} {str(path)!r}: {why}; give another path".strip()) from None
    return Path(path)


def check_parent(path: Path, option: str) -> None:
    """Raise `UsageError` where a new file at `path` can't be written, for want of its folder."""
    if not os.access(path.parent, os.W_OK) or not path.parent.is_dir():
        raise UsageError(f"{option} {path}: can't write to the folder {path.parent}")


def check_folder(path: Path) -> None:
    """Raise `UsageError` where a file is in the place of the folder `path` or of one of its parents."""
    for each in (path, *path.parents):
        if os.path.lexists(each):
            if not os.path.isdir(each):  # unlike the methods of Path these never raise
                raise UsageError(f"can't write {path}: {each} is not a folder; move it away, or choose another --out")
            return


def disk_fault(error: BaseException | None, folder: Path) -> str | None:
    """Return the fault that kept a run in `folder` from writing, with its remedy; None for any other error.

    The causes of an error are examined too. A missing file counts where it belongs to `folder`.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in REMEDIES:
            file = str(error.filename or folder)
            known_anywhere = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
            if known_anywhere or Path(file).is_relative_to(folder):
                return f"{file}: {error.strerror}: {REMEDIES[error.errno]}, then `safeloop resume {folder}`"
        error = error.__cause__
    return None
