"""The parts of `script/test-arm` that count: images are drawn here, answered here and on Arm, and compared here.

python script/arm_answers.py draw fer2013.csv 500 images.npz
python script/arm_answers.py answer model.tflite images.npz answers.npy ai-edge-litert
python script/arm_answers.py compare theirs.npy ours.npy images.npz [--report-only]
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

STEP = 1 / 256
"""Of an int8 model's probabilities."""

ALLOWED_STEPS = 1
"""Two processors may round the last bit of the softmax otherwise."""


def draw(data: str, count: str, out: str) -> int:
    """Write `count` test images, drawn at random with a fixed seed, and their labels."""
    from mien.fer2013 import load_fer2013

    test = load_fer2013(data).test
    rows = np.random.default_rng(0).permutation(len(test))[: int(count)]
    np.savez_compressed(out, images=test.images[rows].reshape(-1, 48, 48, 1), labels=test.labels[rows])
    return 0


def answer(model: str, images: str, out: str, runtime: str) -> int:
    """Write the probabilities, (N, 7) float32, of a model in a runtime."""
    from mien.interpreter import TFLiteModel
    from mien.native_log import quiet_native_log

    with quiet_native_log():
        tflite = TFLiteModel(Path(model).read_bytes(), runtime=runtime)
        np.save(out, tflite.predict(np.load(images)["images"]))
    return 0


def compare(theirs: str, ours: str, images: str, flag: str = "") -> int:
    """Print how far two answers are apart; 1 if that is too far and not only to be reported."""
    there, here, labels = np.load(theirs), np.load(ours), np.load(images)["labels"]
    same = int((there.argmax(axis=1) == here.argmax(axis=1)).sum())
    steps = round(float(np.abs(there - here).max()) / STEP)
    right = [100 * float((answers.argmax(axis=1) == labels).mean()) for answers in (there, here)]
    print(
        f"first class equal in {same} of {len(labels)}, at most {steps} of 256 steps apart, "
        f"{right[0]:.1f} % right ({right[1]:.1f} here)"
    )
    return int(flag != "--report-only" and (same < len(labels) or steps > ALLOWED_STEPS))


ACTIONS: dict[str, Callable[..., int]] = {"draw": draw, "answer": answer, "compare": compare}

if __name__ == "__main__":
    sys.exit(ACTIONS[sys.argv[1]](*sys.argv[2:]))
