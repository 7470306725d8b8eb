"""The sets that are measured: data sets in MVTec AD's layout, and the published collections.

A collection is recognised by its folders, as it is published. One in another layout is given a view
in MVTec AD's: links, no copies. Its own split is used; nothing is drawn.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgead import photo_files
from edgead.datasets import GOOD, Dataset
from edgead.errors import DataError, UsageError

MVTEC_AD, MVTEC_AD_2, VISA = "MVTec AD", "MVTec AD 2", "VisA"
BAD = "bad"
"""The one kind of defect of MVTec AD 2 and VisA."""

_SPLIT_FILE = Path("split_csv") / "1cls.csv"
_COLUMNS = ("object", "split", "label", "image", "mask")
_PARTS = {("train", "normal"): "train/good", ("test", "normal"): f"test/{GOOD}"}
_PARTS[("test", "anomaly")] = f"test/{BAD}"


@dataclass(frozen=True)
class LabelledSet:
    """A set to measure on.

    Attributes:
        name: As the tables call it.
        data: Its folder, in MVTec AD's layout.
        collection: Name of the collection that it is a category of; empty for a set by itself.
        layout: :data:`MVTEC_AD`, :data:`MVTEC_AD_2` or :data:`VISA`.
    """

    name: str
    data: Path
    collection: str = ""
    layout: str = MVTEC_AD


def labelled_sets(pairs: Sequence[str], views: Path) -> list[LabelledSet]:
    """Read ``SET=DATA``; a collection becomes one set for each category.

    Args:
        pairs: As they were given.
        views: Folder for the views of collections in another layout than MVTec AD's.

    Raises:
        UsageError: Not of that form, or a name comes twice.
        DataError: A folder has an unknown layout, is damaged, or has no labelled photos.
    """
    found: dict[str, LabelledSet] = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise UsageError(f"'{pair}' is not of the form SET=DATA")
        for one in _sets_of(name, Path(folder), views):
            if one.name in found:
                raise UsageError(f"the set '{one.name}' is given twice: name every set once")
            found[one.name] = one
    for one in found.values():
        if not any(photo.is_anomalous for photo in Dataset.from_folder(one.data).test_photos()):
            raise DataError(f"the set {one.name} ({one.data}) has no labelled defective photos")
    return list(found.values())


def categories(sets: Sequence[LabelledSet]) -> dict[str, frozenset[str]]:
    """Return the categories of each collection."""
    names = dict.fromkeys(one.collection for one in sets if one.collection)
    return {
        name: frozenset(s.name.partition("/")[2] for s in sets if s.collection == name)
        for name in names
    }


def _sets_of(name: str, root: Path, views: Path) -> list[LabelledSet]:
    folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    if (root / _SPLIT_FILE).is_file():
        links = _visa_links(root)
        return [
            LabelledSet(f"{name}/{category}", _view(views / name / category, of), name, VISA)
            for category, of in links.items()
        ]
    if (root / "test_public").is_dir():
        return [LabelledSet(name, _view(views / name, _ad_2_links(root)), layout=MVTEC_AD_2)]
    public = [path for path in folders if (path / "test_public").is_dir()]
    if public:
        return [
            LabelledSet(
                f"{name}/{path.name}",
                _view(views / name / path.name, _ad_2_links(path)),
                name,
                MVTEC_AD_2,
            )
            for path in public
        ]
    inside = [path for path in folders if (path / "train").is_dir()]
    if inside:
        return [LabelledSet(f"{name}/{path.name}", path, name) for path in inside]
    if any((path / "Data" / "Images").is_dir() for path in (root, *folders)):
        raise DataError(
            f"{root} has photos of VisA, but no {_SPLIT_FILE}: give the folder that holds VisA's "
            "categories and its folder split_csv"
        )
    is_one = (root / "train").is_dir() or (root / "test").is_dir()
    if root.is_dir() and not is_one and not photo_files.directly_in(root).photos:
        raise DataError(
            f"{root} is in none of the layouts that can be measured: MVTec AD (train/good, test, "
            "ground_truth), MVTec AD 2 (train/good, test_public), a folder of such folders, or "
            f"VisA (categories beside {_SPLIT_FILE})"
        )
    return [LabelledSet(name, root)]


def _ad_2_links(category: Path) -> dict[str, Path]:
    """Return the view of a category of MVTec AD 2, of which only ``test_public`` is labelled."""
    public = category / "test_public"
    links = {
        f"train/{GOOD}": category / "train" / GOOD,
        f"test/{GOOD}": public / GOOD,
        f"test/{BAD}": public / BAD,
        f"ground_truth/{BAD}": public / "ground_truth" / BAD,
    }
    missing = next((path for path in links.values() if not path.is_dir()), None)
    if missing:
        raise DataError(f"{category} is in MVTec AD 2's layout, but has no folder {missing}")
    return links


def _visa_links(root: Path) -> dict[str, dict[str, Path]]:
    """Return the views of VisA's categories that are on disk, split as ``1cls.csv`` says."""
    file = root / _SPLIT_FILE
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    views: dict[str, dict[str, Path]] = {}
    for number, row in enumerate(rows, 2):
        values = {column: row.get(column) for column in _COLUMNS}
        if None in values.values():
            raise DataError(
                f"{file}, line {number}: expected the columns {', '.join(_COLUMNS)}, and there are "
                f"{', '.join(key or 'unnamed ones' for key in row)}"
            )
        category, split, label, image, mask = (str(values[column]) for column in _COLUMNS)
        if not (root / category).is_dir():
            continue
        part = _PARTS.get((split, label))
        if part is None:
            raise DataError(f"{file}, line {number}: a photo of {split} cannot be '{label}'")
        links = views.setdefault(category, {})
        _add(links, part, root, image, f"{file}, line {number}")
        if mask and part == f"test/{BAD}":
            _add(links, f"ground_truth/{BAD}", root, mask, f"{file}, line {number}")
    if not views:
        raise DataError(f"{root} has no folder of a category that {file} names")
    return views


def _add(links: dict[str, Path], part: str, root: Path, name: str, where: str) -> None:
    path = root / name
    if not (path.resolve().is_relative_to(root.resolve()) and path.is_file()):
        raise DataError(f"{where} names {name}, which is no file in {root}")
    links[f"{part}/{path.name}"] = path


def _view(folder: Path, links: Mapping[str, Path]) -> Path:
    """Make a folder's links what is asked for; links of an earlier run that differ are removed."""
    wanted = {name: str(path.resolve()) for name, path in links.items()}
    there = {
        Path(at, name).relative_to(folder).as_posix()
        for at, inner, names in os.walk(folder)
        for name in (*inner, *names)
        if Path(at, name).is_symlink()
    }
    for name in there:
        if wanted.get(name) == str((folder / name).readlink()):
            wanted.pop(name)
        else:
            (folder / name).unlink()
    for name, target in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)
    return folder
