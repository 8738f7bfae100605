"""What a person sees while a model is converted: one bar, with the step's name."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class ConversionProgress:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> "ConversionProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stage(self, name: str) -> None:
        """Say what begins."""
        self._bar.update(self._task, description=name, refresh=True)

    def expect(self, images: int) -> None:
        """Say how many images there are to answer."""
        self._bar.update(self._task, total=images)

    def advance(self, images: int) -> None:
        """Say that so many are done."""
        self._bar.advance(self._task, images)
