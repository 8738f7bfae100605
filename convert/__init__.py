"""From a trained Keras model to TFLite files with cards: `python -m convert runs/cnn --data fer2013.csv`."""
