"""Chatter is held back; what explains an unforeseen failure is not."""

import os

import pytest

from mien.native_log import quiet_native_log


def test_what_native_code_writes_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_native_log():
        os.write(1, b"chatter\n")
        os.write(2, b"chatter\n")
    print("after")
    output = capfd.readouterr()
    assert (output.out, output.err) == ("after\n", "")


@pytest.mark.parametrize(("error", "is_shown"), [(RuntimeError, True), (ValueError, False)])
def test_it_is_shown_when_something_unforeseen_happens(
    capfd: pytest.CaptureFixture[str], error: type[Exception], is_shown: bool
) -> None:
    with pytest.raises(error), quiet_native_log():
        os.write(2, b"why it failed\n")
        raise error
    assert capfd.readouterr().err == ("why it failed\n" if is_shown else "")
