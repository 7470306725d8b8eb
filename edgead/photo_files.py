"""Which files are photos: folders are searched, and what is passed over is counted with its reason.

Every command lists its photos here, so that all of them take the same files and none passes over
photos in silence.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgead import notices, own_pictures
from edgead.errors import DataError
from edgead.skipped import (
    BROKEN_LINK,
    CLOSED,
    FOREIGN,
    HIDDEN,
    MASKS,
    NO_FILE,
    NO_SUFFIX,
    OTHER_FORMAT,
    OUTPUT,
    OWN,
    SYSTEM,
    UPWARDS,
    VIDEO,
    Reason,
    Skipped,
    by_reason,
    described,
    sentences,
)

_READ = ".png .jpg .jpeg .jpe .jfif .jif .jp2 .bmp .dib .tif .tiff .webp .pbm .pgm .ppm .pnm"
_NOT_READ = (
    ".heic .heif .avif .gif .jxl .jxr .j2k .jpx .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .raf .orf "
    ".rw2 .pef .srw .x3f .raw .exr .hdr .pfm .tga .psd .xcf .ico .svg .dcm .fits .fit .djvu .pam "
    ".ras .sr .qoi"
)
_FILMED = ".mp4 .m4v .avi .mkv .mov .webm .wmv .mpg .mpeg .flv .ts .mts .h264"

SUFFIXES = frozenset(_READ.split())
"""Files in folders with these endings are taken for photos."""

_OTHER_FORMATS = frozenset(_NOT_READ.split())
_VIDEOS = frozenset(_FILMED.split())
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
_STREAM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_SYSTEM_FOLDERS = frozenset(
    name.casefold()
    for name in (
        "@eaDir",
        ".@__thumb",
        "@Recycle",
        "@Recently-Snapshot",
        "#recycle",
        "#snapshot",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "__MACOSX",
    )
)
_MASKS, _DATA_SET = "ground_truth", {"train", "test"}


@dataclass(frozen=True)
class PhotoListing:
    """Photos, and what was found beside them.

    Attributes:
        photos: In the order given, sorted within each folder.
        skipped: What was passed over.
    """

    photos: tuple[Path, ...]
    skipped: tuple[Skipped, ...] = ()

    def unreadable(self) -> list[Skipped]:
        """List what has a photo's name and cannot be read."""
        return [entry for entry in self.skipped if entry.reason.is_photo]


def find(
    paths: Sequence[str | os.PathLike[str]],
    outputs: Sequence[str | os.PathLike[str]] = (),
) -> PhotoListing:
    """List the photos named by files and folders, folders searched to any depth.

    Links to folders are followed, and each folder is searched once. Of a data set in MVTec AD's
    layout the masks are passed over.

    Args:
        paths: Files and folders. A file is taken whatever its name; in folders only files with a
            known image suffix are.
        outputs: Folders inside of ``paths`` that the command writes pictures to.

    Raises:
        DataError: A path does not exist, is a stream, a video, a device or a pattern, or there is
            no photo at all.
    """
    photos: list[Path] = []
    skipped: list[Skipped] = []
    for path in map(_checked, paths):
        if path.is_dir():
            search = _Search(path, outputs)
            photos += search.photos
            skipped += search.skipped
        elif path.is_symlink() and not path.exists():
            skipped.append(Skipped(path, BROKEN_LINK))
        elif own_pictures.is_marked(path):
            skipped.append(Skipped(path, OWN))
        else:
            photos.append(path)
    if not photos:
        raise DataError(
            f"no photos in {', '.join(map(str, paths))}"
            + (f" ({'; '.join(sentences(skipped))})" if skipped else "")
            + f"; photos end in {' '.join(sorted(SUFFIXES))}"
        )
    return PhotoListing(tuple(photos), tuple(skipped))


def find_and_report(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """List photos as :func:`find` does, and print on stderr what was passed over."""
    listing = find(paths)
    report(listing)
    return list(listing.photos)


def report(listing: PhotoListing) -> None:
    """Print on stderr how many files were passed over and why, one line a reason."""
    total = len(listing.photos) + len(listing.skipped)
    for reason, entries in by_reason(listing.skipped).items():
        say = notices.warn if reason.is_warned else notices.note
        say(f"skipped {described(reason, entries)} (of {total} files)")


def within(folder: Path) -> PhotoListing:
    """List the photos in a folder and its sub-folders; a missing folder has none."""
    if not folder.is_dir():
        return PhotoListing(())
    search = _Search(folder, ())
    return PhotoListing(tuple(search.photos), tuple(search.skipped))


def directly_in(folder: Path) -> PhotoListing:
    """List the photos that lie in a folder itself; a missing folder has none."""
    if not folder.is_dir():
        return PhotoListing(())
    search = _Search(folder, (), to_any_depth=False)
    return PhotoListing(tuple(search.photos), tuple(search.skipped))


def holds_photos(folder: Path) -> bool:
    """Whether there is a file with a photo's suffix in a folder or its sub-folders."""
    return any(
        Path(name).suffix.lower() in SUFFIXES
        for _, _, names in os.walk(folder, followlinks=False)
        for name in names
    )


def is_hidden_or_system(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a network drive's or a system's own."""
    return _reason_by_name(name) is not None


def refuse_stream(text: str) -> None:
    """Refuse what is no path at all.

    Raises:
        DataError: It is empty, or the address of a stream.
    """
    if not text:
        raise DataError("the name of a file or folder is empty; is a variable in it not set?")
    if _STREAM.match(text) and not os.path.lexists(text):
        raise DataError(f"{text} is an address, not a file or folder of photos: {_frames_of(text)}")


def _checked(given: str | os.PathLike[str]) -> Path:
    text = os.fspath(given)
    refuse_stream(text)
    path = Path(text)
    if path.is_dir():
        return path
    if path.suffix.lower() in _VIDEOS:
        raise DataError(f"{path} is a video, not a photo: {_frames_of(text)}")
    if path.is_file() or (path.is_symlink() and not path.exists()):
        return path
    if path.exists():
        raise DataError(
            f"{path} is a device or a pipe, not a file or folder of photos: read frames from a "
            "camera with OpenCV and pass them to edgead.EdgeDetector"
        )
    if not glob.has_magic(text):
        raise DataError(f"{path} does not exist")
    fits = next(glob.iglob(text, recursive=True), None)  # noqa: PTH207  # it may be absolute
    if fits is None:
        raise DataError(f"{path} does not exist, and no file matches it as a pattern")
    raise DataError(
        f"{path} is a pattern, which the shell expands only without quotes: leave the quotes out, "
        "or give the folder"
    )


def _frames_of(video: str) -> str:
    return (
        f"save its frames first (ffmpeg -i {shlex.quote(video)} frames/%06d.png), or read them "
        "with OpenCV and pass them to edgead.EdgeDetector"
    )


class _Search:
    """A walk through a folder.

    Attributes:
        photos: Sorted.
        skipped: Sorted.
    """

    def __init__(
        self,
        root: Path,
        outputs: Sequence[str | os.PathLike[str]],
        to_any_depth: bool = True,
    ) -> None:
        self.photos: list[Path] = []
        self.skipped: list[Skipped] = []
        self._links: list[Path] = []
        self._seen: set[tuple[int, int]] = set()
        self._above = {_identity(folder.stat()) for folder in root.resolve().parents}
        self._outputs = {_identity(Path(path).stat()) for path in outputs if Path(path).is_dir()}
        self._to_any_depth = to_any_depth
        self._search(root)
        while self._links:  # behind the folders themselves, which have the plainer names
            self._search(self._links.pop(0))
        self.photos.sort()
        self.skipped.sort(key=lambda entry: entry.path)

    def _search(self, folder: Path) -> None:
        try:
            identity = _identity(folder.stat())
            if identity in self._seen:
                return
            self._seen.add(identity)
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            self._skip(folder, CLOSED)
            return
        folders = {entry.name for entry in entries if _is_folder(entry)}
        has_masks = _MASKS in folders and not folders.isdisjoint(_DATA_SET)
        for entry in entries:
            path = folder / entry.name
            if entry.name not in folders:
                self._take(path)
            elif has_masks and entry.name == _MASKS:
                self._skip(path, MASKS)
            elif self._to_any_depth:
                self._enter(path, entry)

    def _enter(self, path: Path, entry: os.DirEntry[str]) -> None:
        reason = _reason_by_name(entry.name)
        identity = _identity(path.stat())
        if reason is not None:
            self._skip(path, reason)
        elif identity in self._outputs:
            self._skip(path, OUTPUT)
        elif not entry.is_symlink():
            self._search(path)
        elif identity in self._above:
            self._skip(path, UPWARDS)
        else:
            self._links.append(path)

    def _take(self, path: Path) -> None:
        reason = _reason_against(path)
        if reason is None:
            self.photos.append(path)
        else:
            self._skip(path, reason)

    def _skip(self, path: Path, reason: Reason) -> None:
        self.skipped.append(Skipped(path, reason))


def _reason_by_name(name: str) -> Reason | None:
    if name.casefold() in _SYSTEM_FOLDERS or name.startswith("._"):
        return SYSTEM
    return HIDDEN if name.startswith(".") else None


def _reason_against(path: Path) -> Reason | None:
    """Say why a file is no photo; ``None`` for a photo."""
    suffix = path.suffix.lower()
    is_named_as_photo = suffix in SUFFIXES
    by_name = _reason_by_name(path.name)
    if by_name is not None:
        return by_name if is_named_as_photo else FOREIGN
    if suffix in _OTHER_FORMATS:
        return OTHER_FORMAT
    if suffix in _VIDEOS:
        return VIDEO
    try:
        mode = path.stat().st_mode
    except OSError:
        return BROKEN_LINK if is_named_as_photo or not suffix else FOREIGN
    if not stat.S_ISREG(mode):
        return NO_FILE if is_named_as_photo else FOREIGN
    if is_named_as_photo:
        return OWN if own_pictures.is_marked(path) else None
    return NO_SUFFIX if _begins_like_a_photo(path) else FOREIGN


def _begins_like_a_photo(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(12)
    except OSError:
        return False
    return start.startswith(_STARTS) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or into a closed folder
        return False


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
