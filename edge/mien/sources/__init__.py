"""Where frames come from; `open_source` finds the right one for what `--source` was given.

A new source is one new file with one class, and one line in `open_source`.
"""

from pathlib import Path

from mien.sources.base import Frame, Source

__all__ = ["FORMS", "Frame", "Source", "open_source"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm")
FORMS = "camera, a device such as /dev/video0, a video or image file, a folder of images, or demo"
DEMO_CLIP = Path(__file__).parent.parent / "demo" / "demo.mp4"


def open_source(text: str) -> Source:
    """Open what `--source` was given; `FORMS` says what is allowed.

    Raises:
        FileNotFoundError: there is no such file, folder or camera.
        ValueError: it holds no readable frame.
    """
    # Each class is imported when it is needed: a device pays only for the source that it uses.
    if text == "camera" or text.startswith("/dev/"):
        from mien.sources.camera import CameraSource

        return CameraSource(text)
    path = DEMO_CLIP if text == "demo" else Path(text)
    if not path.exists():
        raise FileNotFoundError(f"source {text!r} does not exist: allowed are {FORMS}")
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        from mien.sources.images import ImageSource

        return ImageSource(path, IMAGE_SUFFIXES)
    from mien.sources.video_file import VideoFileSource

    return VideoFileSource(path)
