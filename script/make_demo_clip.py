"""Make the clip of `mien run --source demo`: `pip install scikit-image av`, then `python script/make_demo_clip.py`.

A virtual camera moves over a portrait in the public domain: the face moves, grows, leaves the
picture and returns. The photograph is NASA's portrait of Eileen Collins, 1999 (Great Images in
NASA, no known copyright restrictions), as scikit-image ships it.
"""

from pathlib import Path

import cv2
import numpy as np

TARGET = Path(__file__).resolve().parent.parent / "edge" / "mien" / "demo" / "demo.mp4"
WIDTH, HEIGHT, FRAME_RATE = 480, 360, 25

# (time in s, centre x, centre y, width of the view), in pixels of the 512x512 photograph
KEYFRAMES = np.array(
    [
        (0.0, 202, 190, 400),
        (1.5, 250, 150, 400),  # the face moves
        (2.5, 250, 150, 400),
        (4.0, 224, 120, 200),  # and grows
        (5.0, 224, 120, 200),
        (6.0, 256, 220, 360),
        (7.0, 330, 420, 240),  # leaves
        (8.0, 330, 420, 240),
        (9.0, 235, 160, 320),  # returns
        (10.0, 235, 160, 320),
    ]
)


def view(photo: np.ndarray, time_s: float) -> np.ndarray:
    """Return what the camera sees, (HEIGHT, WIDTH, 3) BGR uint8."""
    step = int(np.clip(np.searchsorted(KEYFRAMES[:, 0], time_s, side="right") - 1, 0, len(KEYFRAMES) - 2))
    start, end = KEYFRAMES[step], KEYFRAMES[step + 1]
    share = (time_s - start[0]) / (end[0] - start[0])
    share = share * share * (3 - 2 * share)  # start and stop softly
    x, y, width = start[1:] + share * (end[1:] - start[1:])
    scale = WIDTH / width
    matrix = np.array([[scale, 0, WIDTH / 2 - scale * x], [0, scale, HEIGHT / 2 - scale * y]])
    return cv2.warpAffine(
        photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=(60, 60, 60)
    )


def main() -> None:
    """Write the clip as H.264, which every OpenCV reads and every browser shows."""
    import av
    from skimage.data import astronaut

    photo = np.ascontiguousarray(astronaut()[:, :, ::-1])
    TARGET.parent.mkdir(exist_ok=True)
    with av.open(str(TARGET), "w") as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": "26", "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in range(round(KEYFRAMES[-1, 0] * FRAME_RATE)):
            picture = av.VideoFrame.from_ndarray(view(photo, frame / FRAME_RATE), format="bgr24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
