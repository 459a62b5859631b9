"""The hold-out is stable and keeps groups whole; the hash knows only content."""

import hashlib
import shutil
from pathlib import Path

import pytest

from medzsad.datasets.layouts import read_data
from medzsad.datasets.records import Record, data_sha256, hold_out
from medzsad.errors import ConfigError
from tests.datasets.folders import entry, write_image, write_mask, write_meta


def _records(root: str, counts: dict[tuple[str, int], int], per_group: int = 0) -> list[Record]:
    return [
        Record(
            Path(f"{root}/{name}/{label}/{i}.png"), None, label, name, "", "", str(i // per_group) if per_group else ""
        )
        for (name, label), count in counts.items()
        for i in range(count)
    ]


def test_the_hold_out_is_the_same_in_any_order_and_place() -> None:
    counts = {("a", 0): 40, ("a", 1): 20}
    here, there = _records("/x", counts), _records("/other/place", counts)[::-1]
    parts = [{r.image.parts[-3:] for r in hold_out(records, 0.2)[1]} for records in (here, there)]
    assert parts[0] == parts[1]
    assert len(parts[0]) == 12
    assert {r.image.parts[-3:] for r in hold_out(here, 0.2, seed=1)[1]} != parts[0]


@pytest.mark.parametrize("count", [6, 7, 8])
def test_seven_of_a_label_are_enough_to_hold_one_out(count: int) -> None:
    train, held = hold_out(_records("/x", {("a", 0): count, ("a", 1): 30}), 0.05)
    assert sum(r.label == 0 for r in held) == int(count >= 7)
    assert len(train) + len(held) == count + 30


def test_groups_stay_whole_across_labels() -> None:
    train, held = hold_out(_records("/x", {("a", 0): 24, ("a", 1): 24}, per_group=8), 0.1)
    assert {r.group for r in train}.isdisjoint(r.group for r in held)
    assert {r.label for r in held} == {0, 1}
    assert hold_out(_records("/x", {("a", 1): 9}, per_group=9), 0.1)[1] == []


def test_a_share_of_everything_is_refused() -> None:
    assert hold_out(_records("/x", {("a", 1): 9}), 0)[1] == []
    with pytest.raises(ConfigError, match="below 1, not 1"):
        hold_out([], 1)


def test_the_hash_goes_over_sorted_names(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{name}.png") for name in "hcagbfed"]
    expected = hashlib.sha256()
    for path in sorted(paths):
        expected.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    records = [Record(path, None, 0, "nut", "") for path in paths]
    assert data_sha256(tmp_path, records) == expected.hexdigest()


def test_the_hash_knows_content_and_names_but_not_order_or_place(tmp_path: Path) -> None:
    root = tmp_path / "one"
    write_image(root / "a.png")
    write_image(root / "b.png")
    mask = write_mask(root / "m.png")
    write_meta(root / "meta.json", [entry("a.png"), entry("b.png", "m.png", 1)])
    records = read_data(root).records
    first = data_sha256(root, records)
    assert data_sha256(root, records[::-1]) == first
    moved = Path(shutil.copytree(root, tmp_path / "two"))
    assert data_sha256(moved, read_data(moved).records) == first
    roundabout = root / ".." / "one"
    assert data_sha256(roundabout, read_data(roundabout).records) == first
    write_mask(mask, empty=True)
    assert data_sha256(root, records) != first
    mask.unlink()
    with pytest.raises(ConfigError, match=r"Cannot read .*m\.png"):
        data_sha256(root, records)
