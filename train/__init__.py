"""Training of the Keras models on FER2013, on a workstation: `python -m train cnn --data fer2013.csv`."""
