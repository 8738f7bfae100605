"""Labelled photographs are read as they are, split alike each time, and what is damaged is named in one line."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.photographs import BLOCK, PARTS, Photograph, assign_parts, read_photographs

HEADER = "file,x,y,width,height," + ",".join(f"lm{number}{axis}" for number in range(1, 6) for axis in "xy")
MARKS = "1,2,3,4,5,6,7,8,9,10"


def write_folder(root: Path, faces: str, **others: str) -> Path:
    """Write faces.csv with its header, and other files as they are given."""
    (root / "faces.csv").write_text(f"{HEADER}\n{faces}")
    for name, text in others.items():
        (root / f"{name}.csv").write_text(text)
    (root / "images").mkdir()
    return root


def read_all(folder: Path) -> dict[str, Photograph]:
    photographs = [photograph for part in PARTS for photograph in read_photographs(folder, part)]
    assert len({photograph.file for photograph in photographs}) == len(photographs)
    return {photograph.file.name: photograph for photograph in photographs}


def test_faces_ignored_places_and_pictures_without_a_face_are_read(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path,
        f"a_1.jpg,10,20,30.5,40,{MARKS}\na_1.jpg,50,60,7,8,,,,,,,,,,\n",
        ignore="file,x,y,width,height\na_1.jpg,1,2,3,4\n",
        negatives="file\nb_1.jpg\n",
    )
    photographs = read_all(folder)
    assert set(photographs) == {"a_1.jpg", "b_1.jpg"}
    two, none = photographs["a_1.jpg"], photographs["b_1.jpg"]
    assert two.boxes.tolist() == [[10, 20, 30.5, 40], [50, 60, 7, 8]]
    assert two.landmarks[0].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert np.isnan(two.landmarks[1]).all()
    assert two.ignored.tolist() == [[1, 2, 3, 4]]
    assert none.boxes.shape == none.ignored.shape == (0, 4)
    assert none.landmarks.shape == (0, 5, 2)


def test_a_picture_is_read_in_gray_and_a_missing_or_damaged_one_is_named(tmp_path: Path) -> None:
    rows = "".join(f"a_{number}.png,1,1,5,5,{MARKS}\n" for number in range(3))
    photographs = read_all(write_folder(tmp_path, rows))
    cv2.imwrite(str(tmp_path / "images" / "a_0.png"), np.full((20, 30, 3), 90, np.uint8))
    (tmp_path / "images" / "a_1.png").write_text("no picture")
    assert photographs["a_0.png"].read().shape == (20, 30)
    with pytest.raises(ValueError, match=r"a_1\.png cannot be read as a picture"):
        photographs["a_1.png"].read()
    with pytest.raises(FileNotFoundError, match=r"no picture at .*a_2\.png: faces\.csv or negatives\.csv names it"):
        photographs["a_2.png"].read()


def test_neighbours_stay_together_and_each_part_has_its_share() -> None:
    count = 40 * BLOCK
    parts = assign_parts(f"film_{number:06}.jpg" for number in range(count))
    assert len(parts) == count
    for start in range(0, count, BLOCK):
        assert len({parts[f"film_{number:06}.jpg"] for number in range(start, start + BLOCK)}) == 1
    # 0.08 of 40 blocks are 3.2.
    assert [list(parts.values()).count(part) for part in PARTS] == [34 * BLOCK, 3 * BLOCK, 3 * BLOCK]


def test_a_small_source_is_for_training_alone() -> None:
    names = [f"few_{number:06}.jpg" for number in range(2 * BLOCK)]
    assert set(assign_parts(names).values()) == {"training"}


def test_parts_follow_from_the_names_alone() -> None:
    film = [f"film_{number:06}.jpg" for number in range(20 * BLOCK)]
    other = [f"other_{number:06}.jpg" for number in range(10 * BLOCK)]
    alone = assign_parts(film)
    assert assign_parts(reversed(film)) == alone
    together = assign_parts(other + film)
    assert {name: together[name] for name in film} == alone


def test_a_source_is_split_in_the_same_places_on_every_machine() -> None:
    parts = assign_parts(f"film_{number:06}.jpg" for number in range(20 * BLOCK))
    held_back = [block for block in range(20) if parts[f"film_{block * BLOCK:06}.jpg"] != "training"]
    # Another answer would put pictures that a finder learnt from among those that judge it.
    assert held_back == [3, 5, 11, 19]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"a_1.jpg,10,20,,40,{MARKS}\n", "a box of a_1.jpg is no box"),
        (f"a_1.jpg,10,20,nan,40,{MARKS}\n", "a box of a_1.jpg is no box .*: allowed are a width and a height above 0"),
        (f"a_1.jpg,10,20,-3,40,{MARKS}\n", "a box of a_1.jpg is no box"),
        (f"a_1.jpg,10,20,wide,40,{MARKS}\n", "a box of a_1.jpg is no box .*: allowed are four numbers"),
        ("a_1.jpg,10,20,30,40,1,2,3,4,five,6,7,8,9,10\n", "a landmark of a_1.jpg is no number"),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_all(write_folder(tmp_path, row))


def test_a_folder_without_labels_a_column_too_few_and_an_unknown_part_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no faces\.csv in"):
        read_photographs(tmp_path, "training")
    with pytest.raises(ValueError, match="unknown part 'train': allowed are training, validation, test"):
        read_photographs(tmp_path, "train")
    (tmp_path / "faces.csv").write_text("file,x,y,width\n")
    with pytest.raises(ValueError, match=r"faces\.csv has no column 'height'"):
        read_photographs(tmp_path, "training")


def test_a_table_as_excel_writes_it_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, f"a_1.jpg,10,20,30,40,{MARKS}\n")
    table = folder / "faces.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert read_all(folder)["a_1.jpg"].boxes.tolist() == [[10, 20, 30, 40]]
