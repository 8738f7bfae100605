"""What the plots of all benchmarks have in common."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABEL_PLACES = [(side, height) for height in (0, 8, -8, 16, -16, 24, -24) for side in (1, -1)]
"""Where a name may stand: right (1) or left (-1) of its point, and so many typographic points above its middle."""


def new_figure(width_in: float, height_in: float) -> "Figure":
    """Return an empty figure of that size in inches; nobody has to close it.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'mien[bench]'") from error
    return Figure(figsize=(width_in, height_in), layout="constrained")


def name_points(figure: Any, axes: Any, points: list[tuple[str, tuple[float, float]]]) -> None:
    """Write each name beside its point, at the first place in the plot where it covers no other name and no point."""
    figure.draw_without_rendering()  # the layout is known only then
    pixels = axes.transData.transform([point for _, point in points])
    taken: list[Any] = []
    for name, point in points:
        for side, height in LABEL_PLACES:
            place: dict[str, Any] = {"xytext": (7 * side, height), "textcoords": "offset points"}
            align = {"ha": "left" if side > 0 else "right", "va": "center", "fontsize": 9}
            label = axes.annotate(name, point, **place, **align)
            box = label.get_window_extent().padded(1)
            is_inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if is_inside and not box.count_overlaps(taken) and not box.count_contains(pixels):
                break
            label.remove()
        else:
            axes.add_artist(label)  # there is no such place: better on another name than nowhere
        taken.append(box)
        if height:
            axes.annotate("", point, **place, arrowprops={"arrowstyle": "-", "color": "gray", "linewidth": 0.6})
