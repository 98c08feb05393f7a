"""Entry points by a listing of the path: what importlib-metadata says of the same folders, and only where it can be known."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import importlib_metadata
import pytest

from convcore import installed
from convcore.discovery import discover
from convcore.installed import Point, entry_points

POINTS = "[convcore]\n# a comment\nfirst = pack.mod\nsecond=pack.mod:thing [extra]\n\n[console_scripts]\nrun = pack:main\n"


def dist(
    folder: Path, name: str, points: str | None = POINTS, metadata: str | None = "Name: {n}\nVersion: 1.2\n\nName: body\n"
) -> Path:
    kind = folder / name
    kind.mkdir(parents=True)
    if points is not None:
        (kind / "entry_points.txt").write_text(points)
    if metadata is not None:
        held = "METADATA" if name.endswith(".dist-info") else "PKG-INFO"
        (kind / held).write_text("Metadata-Version: 2.1\n" + metadata.format(n=name.partition("-")[0]))
    return kind


def standard(path: list[str]) -> list[Point]:
    found = importlib_metadata.distributions(path=path)
    unique = {d._normalized_name: d for d in [*found][::-1]}  # the first counts
    return sorted(Point.of(e) for d in unique.values() for e in d.entry_points if e.group == "convcore")


def test_of_this_environment() -> None:
    found = entry_points("convcore")
    assert {p.name for p in found} >= {"keras", "onnx", "caffe", "pytorch"}
    assert sorted(found) == sorted(Point.of(e) for e in importlib_metadata.entry_points(group="convcore"))


def test_folders_on_the_path(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    dist(a, "One_Pack-1.0.dist-info")
    dist(a, "two.pack-1.0-py3.egg-info")
    dist(a, "none-1.0.dist-info", points=None)
    dist(a, "other-1.0.dist-info", points="[console_scripts]\nx = y:z\n")
    dist(b, "one.pack-2.0.dist-info", points="[convcore]\nhidden = by.the.first\n")  # the same name, later on the path
    dist(b, "none-2.0.dist-info")  # hidden, too
    dist(b, "three-1.0.dist-info", points="[convcore]\nthird = pack.three\n", metadata="Version: 3\nName:  Three.Pack\n")
    (a / "old-1.0.egg-info").write_text("Name: old\nVersion: 1\n")
    path = [str(a), str(b), str(tmp_path / "gone")]
    found = installed._listed("convcore", path)
    assert found is not None
    assert sorted(found) == standard(path)
    assert {(p.name, p.distribution, p.version) for p in found} == {
        ("first", "One_Pack", "1.2"), ("second", "One_Pack", "1.2"), ("first", "two.pack", "1.2"), ("second", "two.pack", "1.2"),
        ("third", "Three.Pack", "3"),
    }  # fmt: skip


@pytest.mark.parametrize("metadata", [None, "Name: {n}\n", "Version: 1\n"])
def test_odd_metadata_is_left_to_the_standard(tmp_path: Path, metadata: str | None) -> None:
    dist(tmp_path, "odd-1.0.dist-info", metadata=metadata)
    assert installed._listed("convcore", [str(tmp_path)]) is None


@pytest.mark.parametrize(
    ("metadata", "told"), [(None, ("?", "?")), ("Name: Odd\n", ("Odd", "?")), ("Version: 1\n", ("?", "1")), ("", ("?", "?"))]
)
def test_a_distribution_without_a_name_or_version_has_its_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metadata: str | None, told: tuple[str, str]
) -> None:
    """What an interrupted pip leaves is no reason for a foreign error in every command."""
    folder = dist(tmp_path, "odd-1.0.dist-info", metadata=None)
    if metadata is not None:
        (folder / "METADATA").write_text(metadata)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert Point("first", "pack.mod", *told) in entry_points("convcore")
    assert ("first", *told) in {(i.name, i.distribution.title(), i.version) for i in discover(None)}


def test_metadata_of_another_encoding(tmp_path: Path) -> None:
    folder = dist(tmp_path, "latin-1.0.dist-info", metadata=None)
    (folder / "METADATA").write_bytes(b"Name: latin\nVersion: 1\nAuthor: Ren\xe9\n")
    assert installed._listed("convcore", [str(tmp_path)]) == [
        Point("first", "pack.mod", "latin", "1"), Point("second", "pack.mod:thing [extra]", "latin", "1")
    ]  # fmt: skip


def test_zip_files_and_eggs_are_left_to_the_standard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tmp_path / "held.zip"
    with zipfile.ZipFile(held, "w") as z:
        z.writestr("zipped-1.0.dist-info/METADATA", "Name: zipped\nVersion: 4\n")
        z.writestr("zipped-1.0.dist-info/entry_points.txt", POINTS)
    (tmp_path / "some.egg").mkdir()
    assert installed._listed("convcore", [str(tmp_path / "some.egg")]) is None
    assert installed._listed("convcore", [str(held)]) is None
    monkeypatch.setattr(sys, "path", [*sys.path, str(held)])
    assert Point("first", "pack.mod", "zipped", "4") in entry_points("convcore")


def test_a_finder_of_distributions_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dist(tmp_path, "elsewhere-1.0.dist-info")

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            return None

        @staticmethod
        def find_distributions(context: importlib_metadata.DistributionFinder.Context) -> object:
            return [importlib_metadata.PathDistribution(tmp_path / "elsewhere-1.0.dist-info")]

    assert installed._plain_finders()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert not installed._plain_finders()
    assert Point("first", "pack.mod", "elsewhere", "1.2") in entry_points("convcore")
