"""The settings are checked when they are made, and the recipes say what they promise."""

from pathlib import Path

import pytest

from train.config import RECIPES, TrainingConfig, config_of, read_run


def test_the_defaults_are_the_papers_protocol() -> None:
    config = TrainingConfig()
    assert config == RECIPES["paper"]
    assert (config.epochs, config.batch_size, config.optimizer, config.learning_rate) == (50, 64, "adam", 0.001)
    assert (config.schedule, config.validation_share, config.mixed_precision) == ("constant", 0.2, False)
    assert (config.rotation_degrees, config.zoom, config.shift) == (10, 0.1, 0.1)
    absent = (config.erasing, config.brightness, config.contrast, config.mixup, config.label_smoothing, config.ema)
    assert absent == (0,) * 6
    assert (config.imbalance, config.fer_plus, config.dropout, config.weight_decay) == ("none", "none", 1, 0)


def test_every_recipe_names_itself_and_keeps_a_fifth_for_validation() -> None:
    for name, config in RECIPES.items():
        assert config.recipe == name
        assert config.validation_share == 0.2
        assert config.fer_plus == "none"  # the recipes need FER2013 alone


@pytest.mark.parametrize(
    "change",
    [
        {"model": "vgg"},
        {"recipe": "best"},
        {"shape": "round", "model": "mien_net"},
        {"shape": "deep", "model": "cnn"},
        {"live": 1.0},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"width": -1.0},
        {"schedule": "linear"},
        {"optimizer": "lion"},
        {"imbalance": "smote"},
        {"validation_share": 1.0},
        {"label_smoothing": 1.0},
        {"ema": 1.5},
        {"mixup": -0.5},
        {"dropout": -1.0},
        {"imbalance_power": float("inf")},
        {"seed": -1},
        {"seed": 2**40},
    ],
)
def test_a_setting_out_of_range_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(change.values())))):
        TrainingConfig(**change)  # type: ignore[arg-type]


def test_differences_name_both_values() -> None:
    assert TrainingConfig(seed=1).differences(TrainingConfig()) == ["seed was 0, now 1"]
    assert TrainingConfig().differences(TrainingConfig()) == []


def test_a_run_of_an_older_version_gets_defaults_for_what_it_lacks() -> None:
    assert config_of({"model": "cnn", "epochs": 24, "data_sha256": "..."}) == TrainingConfig(epochs=24)


@pytest.mark.parametrize("content", ["[1, 2]", '{"epochs": "many"}', '{"epochs": ', '{"model": "vgg"}'])
def test_a_damaged_run_is_one_clear_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run.json is damaged .* start anew in another --out"):
        read_run(tmp_path)
