"""What cannot be read is never taken for absent when somebody asks who uses an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.errors import Unavailable
from corral.image.overlays import Found, find
from corral.image.places import Places


def test_file_that_cannot_be_read_may_be_an_overlay(tmp_path: Path) -> None:
    (tmp_path / "a.qcow2").symlink_to(tmp_path / "b.qcow2")
    (tmp_path / "b.qcow2").symlink_to(tmp_path / "a.qcow2")
    with pytest.raises(Unavailable, match=r"/[ab]\.qcow2 could not be read to see whether it is an overlay"):
        find([str(tmp_path)], guests=[], pools=[])


def test_folder_that_cannot_be_searched_may_hold_overlays(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=f"{tmp_path}/file could not be searched for overlays"):
        find([str(tmp_path / "file")], guests=[], pools=[])
    assert find([str(tmp_path / "none")], guests=[], pools=[]) == Found({})


@pytest.mark.parametrize("folder", ["guests", "pools"])
def test_definition_that_cannot_be_read_may_name_a_disk(tmp_path: Path, folder: str) -> None:
    for name in ("guests", "pools"):
        (tmp_path / name).mkdir()
    source = "<source pool='p' volume='v'/>"
    (tmp_path / "guests" / "web.xml").write_text(
        f"<domain><name>web</name><devices><disk>{source}</disk></devices></domain>"
    )
    (tmp_path / folder / "broken.xml").write_text("<domain>")
    with pytest.raises(Unavailable, match=rf"{folder}/broken\.xml could not be read to see"):
        find([], guests=[str(tmp_path / "guests")], pools=[str(tmp_path / "pools")])


def test_volume_of_a_pool_that_runs_and_is_not_defined(tmp_path: Path) -> None:
    """Libvirt wraps the definitions of what runs."""
    disk = "<disk><source pool='p' volume='v'/></disk><disk><source pool='remote' volume='v'/></disk>"
    (tmp_path / "web.xml").write_text(
        f"<domstatus><domain><name>web</name><devices>{disk}</devices></domain></domstatus>"
    )
    (tmp_path / "p.xml").write_text(
        f"<poolstate><pool><name>p</name><target><path>{tmp_path}</path></target></pool></poolstate>"
    )
    (tmp_path / "remote.xml").write_text("<pool><name>remote</name></pool>")
    (tmp_path / "v").touch()
    found = find([], guests=[str(tmp_path)], pools=[str(tmp_path)])
    assert found == Found({f"{tmp_path}/v": ("guest web",)})


def test_damaged_note_of_a_place_is_not_no_place(tmp_path: Path) -> None:
    places = Places(tmp_path / "web.places")
    places.add(str(tmp_path))
    (note,) = places.notes.iterdir()
    note.write_text("{")
    with pytest.raises(Unavailable, match=rf"{places.notes} could not be read"):
        places.folders()
