"""Emotions named from found faces are compared with those of the very images that were hidden in the pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.crops import PICTURE, TRUE_SQUARE, make_scene, measure_crops, plots, table
from mien.classifier import EmotionClassifier
from mien.faces import Box, Image
from mien.preprocess import crop_face
from tests.conftest import make_data


class Blind:
    """Finds nothing."""

    takes_frame = False

    def detect(self, picture: Image) -> list[Box]:
        return []


def smooth_image() -> Image:
    """Return an image without a symmetry: brighter to the right, and more so to the bottom; (48, 48) uint8."""
    across, down = np.meshgrid(np.arange(48), np.arange(48))
    return (3 * across + 2 * down * (across > 24)).astype(np.uint8)


@pytest.mark.parametrize("degrees", [0, 10, 30, 45])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_cut_from_its_own_place_is_the_image_again(degrees: int, seed: int) -> None:
    image = smooth_image()
    scene = make_scene(image, degrees, np.random.default_rng(seed))
    assert scene.picture.shape == PICTURE[::-1]
    assert abs(scene.place.roll_degrees) == degrees
    again = crop_face(scene.picture, scene.place, 0.0)
    middle = slice(8, 40)  # a large image that leans loses its corners
    # Turned the wrong way by 10 degrees, it is 12 levels off and more; enlarging, cutting to whole pixels cost 3.
    assert np.abs(again.astype(float) - image)[middle, middle].mean() < 6


@pytest.mark.parametrize("degrees", [0, 20])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_fine_in_an_image_is_kept_in_its_scene_and_when_it_is_turned_back(seed: int, degrees: int) -> None:
    fine = np.random.default_rng(seed).integers(0, 256, (48, 48)).astype(np.float32)
    image = cv2.GaussianBlur(fine, (0, 0), 0.8).astype(np.uint8)
    scene = make_scene(image, degrees, np.random.default_rng(seed))
    again = crop_face(scene.picture, scene.place, 0.0)
    assert again[8:40, 8:40].std() > 0.9 * image[8:40, 8:40].std()  # enlarged linearly it has 0.85


def test_a_scene_is_the_same_each_time() -> None:
    one, other = (make_scene(smooth_image(), 20, np.random.default_rng(5)) for _ in range(2))
    assert one.place == other.place
    assert (one.picture == other.picture).all()


def test_a_face_that_is_not_found_counts_as_wrong_of_all() -> None:
    images = make_data(per_class=1).test
    results = measure_crops(EmotionClassifier(), {"blind": Blind()}, images, (0, 20))
    own, blind = results["detectors"]
    assert own["detector"] == TRUE_SQUARE
    for entry in own["angles"]:
        assert entry["found"] == entry["images"] == len(images)
        assert entry["overall_accuracy"] == entry["levelled_accuracy"]
        assert entry["difference"] == pytest.approx(entry["levelled_accuracy"] - entry["tight_accuracy"], abs=2e-5)
    for entry in blind["angles"]:
        assert (entry["found"], entry["overall_accuracy"], entry["levelled_accuracy"]) == (0, 0, None)
    assert f"| blind | 0 of {len(images)} (0.0%) | - | - | - | 0.0% |" in table(results)
    (figure,) = plots(results).values()
    assert len(figure.axes) == 2


def test_levelling_matters_only_where_the_image_is_turned() -> None:
    images = make_data(per_class=1).test
    (own,) = measure_crops(EmotionClassifier(), {}, images, (0, 45))["detectors"]
    straight, turned = own["angles"]
    assert straight["gain"] == 0
    assert turned["levelled_accuracy"] is not None


def test_the_command_measures_the_detectors_of_mien_run(
    small_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "crops.json"
    assert main(["crops", "--data", str(small_csv), "--images", "2", "--json", str(path)]) == 0
    results = json.loads(path.read_text())["results"]
    assert [entry["detector"] for entry in results["detectors"]] == [TRUE_SQUARE, "finder", "HaarDetector"]
    assert [entry["degrees"] for entry in results["detectors"][0]["angles"]] == [0, 10, 20, 30, 45]
    assert "YuNet was not measured" in capsys.readouterr().out


def test_no_images_are_refused(small_csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crops", "--data", str(small_csv), "--images", "0"]) == 1
    assert capsys.readouterr().err.splitlines() == ["error: --images 0 must be 1 or more"]
