"""The representative dataset: from Training alone, balanced, seeded, and no twin of a test image."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from convert.calibration import draw_calibration, refuse_test_images
from convert.pictures import from_faces, load_pictures
from mien.fer2013 import Fer2013
from tests.conftest import make_data


def test_classes_are_equally_many() -> None:
    data = make_data(per_class=20)
    calibration = draw_calibration(from_faces(data), 30, seed=0)
    assert len(calibration.rows) == 28  # the largest multiple of seven
    assert np.bincount(data.labels[calibration.rows]).tolist() == [4] * 7
    np.testing.assert_array_equal(calibration.images[..., 0], data.images[calibration.rows])


def test_test_images_and_their_twins_are_never_drawn() -> None:
    data = make_data(per_class=20)
    images = data.images.copy()
    twins = np.flatnonzero(data.usages == 0)[:70]  # half of Training now stands in the tests, too
    images[np.flatnonzero(data.usages != 0)[:70]] = images[twins]
    calibration = draw_calibration(from_faces(Fer2013(images, data.labels, data.usages)), 70, seed=0)
    assert (data.usages[calibration.rows] == 0).all()
    assert not np.isin(calibration.rows, twins).any()


def test_the_seed_decides_and_the_hash_tells() -> None:
    data = make_data(per_class=20)
    first, again, other = (draw_calibration(from_faces(data), 35, seed=seed) for seed in (1, 1, 2))
    assert first.sha256 == again.sha256 != other.sha256
    np.testing.assert_array_equal(first.rows, again.rows)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (6, "allowed is 7 or more"),
        (700, "wants 100 images of angry, there are 20: give --calibration-size 70, which"),
    ],
)
def test_a_size_out_of_range_is_refused(size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_calibration(from_faces(make_data(per_class=20)), size, seed=0)


def test_on_the_real_set_no_image_is_in_the_tests(fer2013: Fer2013) -> None:
    calibration = draw_calibration(from_faces(fer2013), 490, seed=0)
    assert not np.isin(fer2013.rows(calibration.rows).image_keys(), fer2013.test.image_keys()).any()


def test_the_guard_looks_at_the_images_themselves() -> None:
    data = make_data(per_class=20)
    training, tests = (np.flatnonzero(mask) for mask in (data.usages == 0, data.usages != 0))
    images = data.images.copy()
    images[training[3]] = images[tests[5]]
    pictures = from_faces(Fer2013(images, data.labels, data.usages))
    refuse_test_images(pictures, pictures.read(training[:3]))
    for rows in (training[:5], tests[5:6]):
        with pytest.raises(ValueError, match=f"stands in the test sets, too, as row {tests[5]}"):
            refuse_test_images(pictures, pictures.read(rows))


def test_what_was_validated_on_and_its_twins_are_never_drawn() -> None:
    data = make_data(per_class=20)
    training = np.flatnonzero(data.usages == 0)
    validation = training[:70]
    images = data.images.copy()
    images[training[70:77]] = images[training[:7]]  # twins of validation images, one a class
    pictures = from_faces(Fer2013(images, data.labels, data.usages))
    calibration = draw_calibration(pictures, 63, seed=0, validation=validation)
    assert set(calibration.rows) == set(training[77:])


def test_a_class_without_images_is_named() -> None:
    data = make_data(per_class=20)
    some = data.rows(data.labels != 1)
    with pytest.raises(ValueError, match="there is no image of disgust to calibrate on"):
        draw_calibration(from_faces(some), 70, seed=0)


def test_own_images_need_not_have_all_classes(tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
        for number in range(6):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), np.full((60, 50), 40 * number, np.uint8))
    pictures = load_pictures(tmp_path, (48, 48, 1), 7)
    calibration = draw_calibration(pictures, 8, seed=0)
    assert np.bincount(pictures.labels[calibration.rows], minlength=7).tolist() == [0, 0, 0, 4, 4, 0, 0]


def test_folders_named_like_emotions_are_mere_classes_for_a_model_of_another_kind(tmp_path: Path) -> None:
    for name in ("sad", "happy", "neutral"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.full((60, 50, 3), 9, np.uint8))
    pictures = load_pictures(tmp_path, (64, 64, 3), 3)
    assert pictures.classes == ("happy", "neutral", "sad")  # alphabetical, as Keras reads folders
    assert pictures.read(np.arange(3)).shape == (3, 64, 64, 3)


def test_faces_are_scaled_to_what_a_model_wants() -> None:
    data = make_data()
    images = from_faces(data, (64, 64, 3)).read(np.arange(2))
    assert images.shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])


def test_colours_of_a_folder_are_red_green_blue(tmp_path: Path) -> None:
    for name, colour in (("a", (0, 0, 200)), ("b", (200, 0, 0))):  # OpenCV writes blue, green, red
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "one.png"), np.full((9, 9, 3), colour, np.uint8))
    pictures = load_pictures(tmp_path, (5, 7, 3), 2)
    assert pictures.classes == ("a", "b")
    images = pictures.read(np.arange(2))
    assert images.shape == (2, 5, 7, 3)
    assert images[:, 0, 0].tolist() == [[200, 0, 0], [0, 0, 200]]


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (("a", "b"), 3, "the model has 3 classes and .* has 2 folders"),
        (("a", "b"), 2, "folders but no images in them"),
        (("happy", "sad"), 7, "folders but no images in them"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    tmp_path: Path, names: tuple[str, ...], classes: int, message: str
) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=message):
        load_pictures(tmp_path, (48, 48, 1), classes)


def test_fer2013_does_not_fit_a_model_of_other_classes(small_csv: Path) -> None:
    with pytest.raises(ValueError, match=r"the model has 3 classes and .* has 7: give --data a folder"):
        load_pictures(small_csv, (48, 48, 1), 3)
