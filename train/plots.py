"""Accuracy and loss over the epochs, as one picture."""

from pathlib import Path


def plot_history(history: list[dict[str, float]], title: str, path: Path) -> None:
    """Draw accuracy (left) and loss (right) of training and validation over the epochs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    epochs = [row["epoch"] for row in history]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    for axis, name in zip(axes, ("accuracy", "loss"), strict=True):
        axis.plot(epochs, [row[name] for row in history], marker=".", label="training, augmented, with dropout")
        axis.plot(epochs, [row[f"val_{name}"] for row in history], marker=".", label="validation")
        axis.set(xlabel="epoch", ylabel=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
