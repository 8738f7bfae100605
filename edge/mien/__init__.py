"""mien recognises facial emotions in real time on low-power devices.

    from mien import EMOTIONS, EmotionClassifier, EmotionRecognizer
    faces = EmotionRecognizer().recognize(frame)  # frame: (H, W, 3) BGR or (H, W) gray, uint8

Importing mien needs numpy only; OpenCV and the TFLite runtime are imported when they are used.
"""

from mien.classifier import EmotionClassifier
from mien.emotions import EMOTIONS
from mien.faces import Box, Face, FrameResult
from mien.recognizer import EmotionRecognizer
from mien.streaming import stream

__version__ = "0.1.0"

__all__ = ["EMOTIONS", "Box", "EmotionClassifier", "EmotionRecognizer", "Face", "FrameResult", "stream"]
