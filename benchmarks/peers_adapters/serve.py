"""Runs one peer in its own environment: `python -I serve.py ADAPTER.py` answers each JSON line with a JSON line.

    {"do": "load", "threads"}                                 -> {"how"}
    {"do": "play", "file", "shape", "frames", "times_s"}      -> {"seconds": of each frame, "faces": in each, "peak_mb"}
    {"do": "classify", "file"}                                -> {"names"}

What fails is answered with {"error"}. It needs the standard library and numpy, which every peer brings.
"""

import json
import os
import runpy
import sys
import time
from typing import Any


def play(peer: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Look at some frames of a clip, each read anew, so that memory is the peer's and not the clip's.

    Args:
        peer: of an adapter.
        request: "file": raw frames of "shape" (height, width, 3), uint8; "frames": numbers of those to look at;
            "times_s": of each of them.
    """
    import numpy as np

    shape, seconds, faces = request["shape"], [], []
    size = shape[0] * shape[1] * shape[2]
    for number, time_s in zip(request["frames"], request["times_s"]):  # noqa: B905 - older Pythons serve, too
        frame = np.fromfile(request["file"], np.uint8, size, offset=number * size).reshape(shape)
        started_s = time.perf_counter()
        found = peer.look(frame, time_s)
        seconds.append(time.perf_counter() - started_s)
        faces.append(int(found))
    return {"seconds": seconds, "faces": faces, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Return the most memory that this process ever had, in MB; getrusage would count its parent's, too."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM:"))


def answer(peer: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to "play" or "classify"."""
    import numpy as np

    if request["do"] == "play":
        return play(peer, request)
    return {"names": [str(name) for name in peer.classify(np.load(request["file"]))]}


def main(adapter: str) -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    content, peer = runpy.run_path(adapter), None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                peer = content["Peer"](request["threads"])
                result = {"how": peer.how}
            else:
                result = answer(peer, request)
        except Exception as error:  # whatever a peer's library raises: told in one line, and its peer is left out
            result = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
