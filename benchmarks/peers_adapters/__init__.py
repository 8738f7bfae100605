"""What else one could take, each behind one small file that runs in an environment of its own.

A file like `tflite_loop.py` is all that another peer needs: give it to `python -m benchmarks peers --peers FILE.py`.
At its top it imports the standard library alone, since `adapter.py` reads its constants where the peer is not
installed:

    NAME            how tables call it
    REQUIREMENTS    what pip is told to install, as a user would
    IMPORT          the statement whose time counts as import time
    PACKAGES        whose versions are told
    NOTE            what a reader of the figures must know; may be left out
    SOURCES         files and folders whose change makes the environment stale; may be left out

    class Peer:
        how: str                                    model, runtime, detector: in a few words
        def __init__(self, threads: int)            loads everything
        def classify(self, faces) -> list[str]      (N, 48, 48) gray uint8 -> names out of `mien.emotions.EMOTIONS`
        def look(self, frame, time_s) -> int        (H, W, 3) BGR uint8 -> faces found, and classified
"""
