"""Layouts of data sets: the folders of one, and known layouts that are not read."""

from __future__ import annotations

from pathlib import Path

from edgead import photo_files
from edgead.errors import DataError

MVTEC_HINT = (
    "expected MVTec AD's layout (train/good, test/<kind>, ground_truth/<kind>) or a folder with "
    "photos of good parts directly in it"
)
_LIKE_TRAIN_AND_TEST = frozenset({"train", "test", "training", "testing", "tests"})


def folders_in(folder: Path) -> list[Path]:
    """List the folders in a folder, without hidden ones and those of network drives."""
    if not folder.is_dir():
        return []
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.is_dir() and not photo_files.is_hidden_or_system(entry.name)
    )


def refuse_mvtec_3d(root: Path) -> None:
    """Refuse a layout whose photos lie between depth images and masks.

    Raises:
        DataError: It is MVTec 3D-AD's.
    """
    for part in ("train", "test"):
        for folder in folders_in(root / part):
            if (folder / "rgb").is_dir() and (folder / "xyz").is_dir():
                raise DataError(
                    f"{root} is in MVTec 3D-AD's layout: copy the photos of each folder 'rgb' into "
                    "train/good and test/<kind>, and those of 'gt' into ground_truth/<kind>"
                )


def what_it_is_instead(root: Path) -> str:
    """Name a known layout that is not read directly, or say that there are no photos."""
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    categories = [folder.name for folder in folders if (folder / "train").is_dir()]
    if categories:
        return (
            f"{root} holds several categories; name one of them: "
            f"{', '.join(str(root / name) for name in categories[:4])}"
            + (" ..." if len(categories) > 4 else "")
        )
    odd = [folder.name for folder in folders if folder.name.casefold() in _LIKE_TRAIN_AND_TEST]
    if odd:
        return f"{root} has {', '.join(odd)}: rename its folders to train and test; {MVTEC_HINT}"
    if (root / "Data" / "Images").is_dir():
        return (
            f"{root} is in VisA's layout; convert it to MVTec AD's with the split script that "
            "VisA publishes (its '1cls' output can be used here)"
        )
    if any((folder / "Imgs").is_dir() for folder in folders):
        return (
            f"{root} is in the layout of the magnetic-tile set (MT_*/Imgs); sort it into "
            "train/good, test/good and test/<kind>, masks into ground_truth/<kind>"
        )
    with_photos = [folder.name for folder in folders if photo_files.directly_in(folder).photos]
    if with_photos:
        return (
            f"{root} has no photos directly in it, but its folders have "
            f"({', '.join(with_photos[:5])}); {MVTEC_HINT}"
        )
    return f"{root} has no images; {MVTEC_HINT}"
