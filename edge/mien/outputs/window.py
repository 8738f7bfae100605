"""A window with the live, annotated picture; Q, Esc or closing it ends the run."""

import os
import subprocess
import sys

from mien.faces import FrameResult, Image
from mien.outputs.base import Output
from mien.outputs.draw import annotate

TITLE = "mien"
QUIT_KEYS = (ord("q"), ord("Q"), 27)


class WindowOutput(Output):
    """Shows each frame.

    Raises:
        OSError: there is no screen, or this OpenCV was built without windows.
    """

    needs_main_thread = True  # Qt and GTK want it

    def __init__(self) -> None:
        import cv2

        _check_windows()
        # Without OpenCV's toolbar, and scaled as a whole.
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._is_sized = False
        self._named: set[int] = set()

    def write(self, image: Image, result: FrameResult) -> None:
        """Show one frame; Q, Esc or a closed window ask for the end."""
        import cv2

        if not self._is_sized:
            cv2.resizeWindow(TITLE, image.shape[1], image.shape[0])
            self._is_sized = True
        cv2.imshow(TITLE, annotate(image, result.faces, self._named))
        self.idle()

    def idle(self) -> None:
        """See whether a key was pressed or the window was closed."""
        import cv2

        is_quit_pressed = cv2.waitKey(1) & 0xFF in QUIT_KEYS
        is_closed = self._is_sized and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
        self.wants_to_stop = is_quit_pressed or is_closed

    def close(self) -> None:
        """Close the window."""
        import cv2

        cv2.destroyAllWindows()


def _check_windows() -> None:
    """Raise OSError if no window can be opened; tried in a process of its own, for Qt aborts where there is none."""
    code = "import cv2; cv2.namedWindow('mien: is there a screen?'); cv2.destroyAllWindows()"
    trial = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if "not implemented" in trial.stderr:
        raise OSError(
            "this OpenCV was built without windows (headless): pip install opencv-python, or another --output"
        )
    if trial.returncode:
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "none"
        raise OSError(f"no screen for a window (DISPLAY is {display}): use --output jsonl or a file such as out.mp4")
