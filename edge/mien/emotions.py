"""The seven classes, in the one order that every model, card and message uses."""

EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's class names; the position of a name is its id (0..6) in `fer2013.csv`."""

UNSURE = "unsure"
"""The answer where no class is confident enough."""
