"""What a person sees while a run trains: one bar for the whole run, one line for each epoch."""

import math
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class RunProgress:
    """A bar with the time left in the run; lines alone where the output is not a terminal.

    Args:
        epochs: of the whole run.
        steps_per_epoch: batches in each.
        history: rows of the epochs that a resumed run has behind it.
        goal: what a run is judged by; validation has it in the column "val_GOAL".
    """

    def __init__(
        self, epochs: int, steps_per_epoch: int, history: list[dict[str, float]], goal: str = "accuracy"
    ) -> None:
        self._epochs, self._history, self._goal = epochs, list(history), goal
        self._console = console = Console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            # Over half an hour: epochs on images of another size are not the whole story.
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            speed_estimate_period=1800,
        )
        self._task = self._bar.add_task(
            self._describe({}), total=epochs * steps_per_epoch, completed=len(history) * steps_per_epoch
        )

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, logs: dict[str, float]) -> None:
        """Note that one batch is done."""
        self._bar.update(self._task, advance=1, description=self._describe(logs))

    def epoch_done(self, row: dict[str, float], is_best: bool) -> None:
        """Print an epoch's line."""
        self._history.append(row)
        best = ", the best yet" if is_best else ""
        self._console.print(
            f"epoch {row['epoch']:.0f}/{self._epochs}: {self._measures(row, '')}; "
            f"validation {self._measures(row, 'val_')}{best}",
            highlight=False,
            soft_wrap=True,
        )
        self._bar.update(self._task, description=self._describe({}))

    def _describe(self, logs: dict[str, float]) -> str:
        text = f"epoch {min(len(self._history) + 1, self._epochs)}/{self._epochs}"
        if logs:
            text += f" loss {logs['loss']:.2f}"
            text += f" {self._goal} {logs[self._goal]:.1%}" if self._goal in logs else ""
        if self._history:
            column = f"val_{self._goal}"
            best = max(row[column] for row in self._history)
            text += f" validation {self._history[-1][column]:.1%} (best {best:.1%})"
        return text

    def _measures(self, row: dict[str, float], prefix: str) -> str:
        """Return loss and goal as a text, as far as they are there."""
        parts = []
        if f"{prefix}loss" in row:
            parts.append(f"loss {row[f'{prefix}loss']:.4f}")
        if f"{prefix}{self._goal}" in row:
            share, digits = row[f"{prefix}{self._goal}"], 2 if prefix else 1
            parts.append(f"{self._goal.replace('_', ' ')} {share:.{digits}%}")
        return ", ".join(parts)


class WatchBatches(keras.callbacks.Callback):
    """Tells the progress of each batch, and stops a run whose loss is no number any more.

    It also keeps `fit` from replacing the weights with their average at its end, which Keras does:
    another epoch is to follow, and it goes on from the plain weights.
    """

    def __init__(self, progress: RunProgress, epoch: int) -> None:
        super().__init__()
        self._progress, self._epoch = progress, epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Raise FloatingPointError if the loss is NaN or infinite."""
        logs = logs or {}
        if not math.isfinite(logs.get("loss", 0.0)):
            raise FloatingPointError(f"the loss became {logs['loss']} in epoch {self._epoch + 1}, batch {batch + 1}")
        self._progress.step(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Hide the averaged weights from the end of `fit`."""
        self.model.optimizer.use_ema = False
