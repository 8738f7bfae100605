"""Training of the face finder: its own data, views, targets and judge; the network is `train.models.finder`."""
