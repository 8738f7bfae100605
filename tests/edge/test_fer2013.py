"""FER2013 is read in every form that people have it in, and a damaged file is named as such."""

from pathlib import Path

import numpy as np
import pytest

from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013, load_fer2013
from tests.conftest import make_data, write_csv, write_folder


def assert_same(found: Fer2013, expected: Fer2013) -> None:
    order_found, order_expected = (np.lexsort(data.images.reshape(len(data), -1).T) for data in (found, expected))
    np.testing.assert_array_equal(found.images[order_found], expected.images[order_expected])
    np.testing.assert_array_equal(found.labels[order_found], expected.labels[order_expected])
    np.testing.assert_array_equal(found.usages[order_found], expected.usages[order_expected])


def test_the_challenge_csv_is_read(small_csv: Path) -> None:
    data = load_fer2013(small_csv)
    np.testing.assert_array_equal(data.images, make_data().images)
    assert_same(data, make_data())
    assert len(data.training) + len(data.test) == len(data)


def test_the_padded_header_of_icml_face_data_is_read(tmp_path: Path) -> None:
    file = write_csv(make_data(), tmp_path / "icml_face_data.csv", ("emotion", " Usage", " pixels"))
    assert_same(load_fer2013(file), make_data())


def test_a_byte_order_mark_does_not_matter(tmp_path: Path, small_csv: Path) -> None:
    file = tmp_path / "windows.csv"
    file.write_bytes(b"\xef\xbb\xbf" + small_csv.read_bytes())
    assert_same(load_fer2013(file), make_data())


def test_the_folder_layout_is_read_in_our_class_order(tmp_path: Path) -> None:
    assert sorted(EMOTIONS) != list(EMOTIONS)  # else this test could not fail
    assert_same(load_fer2013(write_folder(make_data(), tmp_path)), make_data())


def test_capitals_and_hidden_files_in_the_folders_do_not_matter(tmp_path: Path) -> None:
    write_folder(make_data(), tmp_path)
    (tmp_path / "train").rename(tmp_path / "Train")
    (tmp_path / "test" / "happy").rename(tmp_path / "test" / "Happy")
    (tmp_path / "test" / "sad" / "._x.png").write_bytes(b"macOS")
    assert_same(load_fer2013(tmp_path), make_data())


def test_equal_images_have_equal_keys() -> None:
    data = make_data()
    twice = data.rows(np.array([0, 1, 0]))
    keys = twice.image_keys()
    assert keys[0] == keys[2]
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "lacks the column 'emotion'"),
        (lambda text: text.splitlines()[0] + "\n", "no rows"),
        (lambda text: text.replace("emotion,pixels", "label,image", 1), "lacks the column 'emotion'"),
        (lambda text: text[: len(text) // 2], "cut off"),
        (lambda text: text[:-9], "Usage"),
        (lambda text: text.replace("\n1,", "\n9,", 1), "emotion '9' is not one of 0 to 6"),
        (lambda text: text.replace(" 255 255", " 255", 1), "2303 pixels instead of 2304"),
        (lambda text: text.replace(" 255", " 256", 1), "256, allowed is 0 to 255"),
        (lambda text: text.replace(" 255", " 2x5", 1), "no number"),
        (lambda text: text.replace("Training", "Trainig", 1), "Usage 'Trainig'"),
        (lambda text: text.replace("Training", "PublicTest"), "no Training images"),
        (lambda text: "".join(text.splitlines(keepends=True)[:30]), "no test images, so it is cut off"),
    ],
)
def test_a_damaged_csv_is_named(tmp_path: Path, small_csv: Path, change: object, message: str) -> None:
    file = tmp_path / "damaged.csv"
    file.write_text(change(small_csv.read_text()))  # type: ignore[operator]
    with pytest.raises(ValueError, match=message) as caught:
        load_fer2013(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_picture_named_csv_is_no_csv(tmp_path: Path) -> None:
    file = tmp_path / "fer2013.csv"
    file.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(ValueError, match=r"not a CSV file|lacks the column"):
        load_fer2013(file)


def test_an_incomplete_set_is_used_with_a_warning(small_csv: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_fer2013(small_csv)
    assert "84 images, the whole FER2013 has 35887" in caplog.text


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"fer2013\.csv"):
        load_fer2013(tmp_path / "nothing.csv")


def test_a_folder_without_classes_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder train/"):
        load_fer2013(tmp_path)
    (tmp_path / "train" / "angry").mkdir(parents=True)
    with pytest.raises(ValueError, match="no folder disgust/"):
        load_fer2013(tmp_path)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    import cv2

    write_folder(make_data(), tmp_path)
    file = next((tmp_path / "train" / "sad").iterdir())
    cv2.imwrite(str(file), np.zeros((64, 64), np.uint8))
    with pytest.raises(ValueError, match="64x64 pixels, allowed is 48x48"):
        load_fer2013(tmp_path)


def test_the_real_set_has_its_known_counts(fer2013: Fer2013) -> None:
    assert np.bincount(fer2013.training.labels).tolist() == [3995, 436, 4097, 7215, 4830, 3171, 4965]
    twins = np.isin(fer2013.test.image_keys(), fer2013.training.image_keys())
    assert twins.sum() == 568


def test_copies_of_an_image_stay_on_one_side() -> None:
    data = make_data(per_class=20)
    doubled = data.rows(np.concatenate([np.arange(len(data)), np.arange(len(data))]))
    training, validation = (doubled.rows(rows) for rows in doubled.split_training(0.2, seed=3))
    assert len(training) + len(validation) == len(doubled.training)
    assert len(validation) == pytest.approx(0.2 * len(doubled.training), abs=2)
    assert not np.isin(validation.image_keys(), training.image_keys()).any()


def test_test_images_are_on_neither_side() -> None:
    data = make_data(per_class=20)
    for rows in data.split_training(0.2, seed=0):
        assert (data.usages[rows] == 0).all()


def test_an_image_that_cannot_be_divided_is_refused() -> None:
    data = make_data(per_class=1)
    with pytest.raises(ValueError, match="7 distinct images cannot be divided"):
        data.split_training(0.01, seed=0)


def test_with_one_seed_less_validation_is_a_part_of_more() -> None:
    data = make_data(per_class=40)
    _, few = data.split_training(0.1, seed=4)
    _, many = data.split_training(0.2, seed=4)
    assert 0 < len(few) < len(many)
    assert np.isin(few, many).all()
