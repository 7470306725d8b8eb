"""What is passed over where photos are looked for, and the reasons in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgead.printable import printable

_MOST_EXAMPLES = 2
_MOST_SUFFIXES = 8


@dataclass(frozen=True)
class Reason:
    """Why something is passed over, in words for one and for several.

    Attributes:
        one: As in "1 broken link".
        several: As in "2 broken links".
        advice: What to do about it; empty where there is nothing to do.
        is_warned: Whether photos may be missing because of it.
        is_photo: Whether a photo was expected there, so that one could not be read.
    """

    one: str
    several: str
    advice: str = ""
    is_warned: bool = False
    is_photo: bool = False


BROKEN_LINK = Reason("broken link", "broken links", "", is_warned=True, is_photo=True)
NO_FILE = Reason(
    "pipe or device with a photo suffix",
    "pipes or devices with a photo suffix",
    is_warned=True,
    is_photo=True,
)
CLOSED = Reason(
    "folder that cannot be opened",
    "folders that cannot be opened",
    "check the permissions",
    is_warned=True,
    is_photo=True,
)
OTHER_FORMAT = Reason(
    "picture in an unsupported format",
    "pictures in unsupported formats",
    "convert to PNG or JPEG",
    is_warned=True,
)
NO_SUFFIX = Reason(
    "photo without a photo suffix in its name",
    "photos without a photo suffix in their names",
    "rename to end in .png, .jpg or the like",
    is_warned=True,
)
VIDEO = Reason(
    "video", "videos", "save frames as photos first, with ffmpeg for example", is_warned=True
)
HIDDEN = Reason("hidden file or folder", "hidden files and folders")
SYSTEM = Reason(
    "file or folder of a network drive or system", "files and folders of network drives or systems"
)
MASKS = Reason("folder of a data set's masks", "folders of data sets' masks")
OWN = Reason("picture drawn by edgead", "pictures drawn by edgead")
OUTPUT = Reason("output folder of this command", "output folders of this command")
UPWARDS = Reason("link to a folder above it", "links to folders above them")
FOREIGN = Reason("file that is not a photo", "files that are not photos")


@dataclass(frozen=True)
class Skipped:
    """A file or folder that is passed over."""

    path: Path
    reason: Reason

    def sentence(self) -> str:
        """Say that a photo cannot be read, and why."""
        advice = f"; {self.reason.advice}" if self.reason.advice else ""
        return f"cannot read {self.path}: it is a {self.reason.one}{advice}"


def sentences(skipped: Iterable[Skipped]) -> list[str]:
    """Say what was passed over, one sentence a reason: count, reason, examples, advice."""
    return [
        f"skipped {described(reason, entries)}" for reason, entries in by_reason(skipped).items()
    ]


def by_reason(skipped: Iterable[Skipped]) -> dict[Reason, list[Skipped]]:
    """Group what was passed over, reasons that lose photos first."""
    groups: dict[Reason, list[Skipped]] = defaultdict(list)
    for entry in skipped:
        groups[entry.reason].append(entry)
    return dict(sorted(groups.items(), key=lambda group: not group[0].is_warned))


def described(reason: Reason, entries: Sequence[Skipped]) -> str:
    """Say count, reason, examples and advice of what was passed over for one reason."""
    suffixes = sorted({entry.path.suffix.lower() for entry in entries} - {""})
    kinds = (
        f" ({' '.join(suffixes[:_MOST_SUFFIXES])})"
        if reason in (OTHER_FORMAT, FOREIGN) and suffixes
        else ""
    )
    shown = [printable(entry.path) for entry in entries[:_MOST_EXAMPLES]]
    more = ", ..." if len(entries) > _MOST_EXAMPLES else ""
    names = reason.one if len(entries) == 1 else reason.several
    advice = f"; {reason.advice}" if reason.advice else ""
    return f"{len(entries)} {names}{kinds}: {', '.join(shown)}{more}{advice}"
