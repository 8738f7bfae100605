"""The tables and the plot of `python -m benchmarks detection`, from its results alone."""

from typing import TYPE_CHECKING, Any

from benchmarks.candidates import BASELINE
from benchmarks.detection_truth import KINDS
from benchmarks.figures import name_points, new_figure
from mien.detection_metrics import MIN_WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS_MS = [digit * 10.0**power for power in range(-2, 5) for digit in (1, 2, 5)]

COLORS = {"finder": "#d55e00", "YuNet": "#0072b2", "Haar": "#009e73", "": "#777777"}
"""By what a detector's name begins with; colour-blind people can tell them apart (Okabe and Ito 2008)."""

TITLES = {
    "plain": "{} faces without spectacles",
    "spectacles": "{} faces with spectacles",
    "hard": "{} hard faces: cut off, hidden or in profile",
}

Entry = dict[str, Any]


def table(results: Entry) -> str:
    """Return the results as Markdown tables, with the 95 % intervals of recall."""
    empty = "no pictures without a face" if results["no_faces"] is None else f"{results['no_faces']} without a face"
    blocks = [
        photographs_table(results),
        f"{results['photos']} photographs, {empty}; in brackets, the exact 95 % interval of recall. Times are medians "
        f"on 1 / 2 threads; the frame is the same for all, and in the last column it is compared with {BASELINE}.",
    ]
    if held_back := results.get("held_back"):
        blocks += _held_back(held_back)
    if clips := results.get("clips"):
        blocks += _clips(clips)
    blocks += ["{peer} was not measured: {why}.".format(**part) for part in results.get("not_measured", [])]
    return "\n\n".join(blocks)


def photographs_table(results: Entry) -> str:
    """Return recall, false boxes and times as a Markdown table."""
    header = ["detector", *KINDS, "false boxes", "photograph, ms", "frame of 320x240, ms", "times as fast"]
    rows = []
    for detector in results["detectors"]:
        recalls = [_recall_cell(recall) for recall in detector["recalls"]]
        times = [_times(detector, "median", "{:.1f}"), _times(detector, "frame", "{:.2f}")]
        ratio = _number(detector.get("frame_speed_ratio"), "{:.2g}")
        rows.append([detector["detector"], *recalls, _number(detector["false_boxes"], "{}"), *times, ratio])
    return _markdown(header, rows)


def plots(results: Entry) -> "dict[str, Figure]":
    """Draw recall against milliseconds: without spectacles, with them, and of hard faces.

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds = [kind for kind in KINDS if _points(results, kind)]
    if not kinds:
        return {}
    figure = new_figure(11, 5.5 * len(kinds))
    panels = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
    for panel, kind in zip(panels, kinds, strict=True):
        _draw(panel, kind, _points(results, kind))
    return {"recall_against_latency": figure}


def _held_back(held_back: Entry) -> list[str]:
    rows = [
        [
            detector["detector"],
            _number(detector["average_precision"], "{:.3f}"),
            _number(detector["min_score"], "{:.2f}"),
            _number(detector["recall"], "{:.1%}"),
            _number(detector["false_boxes_per_100"], "{:.1f}"),
        ]
        for detector in held_back["detectors"]
    ]
    header = ["detector, its own boxes", "average precision", "its threshold", "recall there", "false boxes on 100"]
    return [
        "Photographs that were held back from training:",
        _markdown(header, rows),
        f"{held_back['photographs']:,} photographs, {held_back['faces']:,} faces wider than {MIN_WIDTH:.0%} of them, "
        f"{held_back['without_faces']:,} of them without a face. A face is found by a box that overlaps it by 0.5 "
        "(intersection over union). Most labels are YuNet's own, which flatters it. Haar cascades give no scores, so "
        "that they have no average precision.",
    ]


def _clips(clips: Entry) -> list[str]:
    names = [clip["name"] for clip in clips["detectors"][0]["clips"]] if clips["detectors"] else []
    header = ["detector", "frames with a face found", "faces", "other boxes", "boxes where none is", *names]
    rows = []
    for detector in clips["detectors"]:
        share = "" if detector["recall"] is None else f" ({detector['recall']:.1%})"
        rows.append(
            [
                detector["detector"],
                f"{detector['found_frames']} of {detector['frames']}{share}",
                f"{detector['found_faces']} of {detector['faces']}",
                str(detector["unconfirmed_boxes"]),
                str(detector["false_boxes"]),
                *(_clip_cell(clip) for clip in detector["clips"]),
            ]
        )
    return [
        "Clips, each frame as a whole:",
        _markdown(header, rows),
        "The truth is what YuNet sees in the same frame at 320 pixels. Other boxes are on none of its faces, in frames "
        "where it sees some.",
    ]


def _clip_cell(clip: Entry) -> str:
    found = f"{clip['found_frames']} of {clip['frames']}" if clip["frames"] else "no face"
    return found + (f", {clip['false_boxes']} false" if clip["false_boxes"] else "")


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _recall_cell(recall: Entry) -> str:
    if not recall["faces"]:
        return "-"
    interval = f"{100 * recall['recall_from']:.0f}-{100 * recall['recall_to']:.0f} %"
    return f"{recall['found']} of {recall['faces']} ({interval})"


def _times(detector: Entry, name: str, form: str) -> str:
    """Return a time on one and on two threads; older results have only some of them."""
    times = [detector.get(f"{name}{threads}_ms") for threads in ("", "_2_threads")]
    return " / ".join(_number(time_ms, form) for time_ms in times)


def _number(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)


def _points(results: Entry, kind: str) -> dict[str, tuple[float, Entry]]:
    """Return {detector: (milliseconds, its recall)} of a kind of faces, if there were any."""
    return {
        detector["detector"]: (max(detector["median_ms"], 0.01), recall)  # 0 has no place on a logarithmic axis
        for detector in results["detectors"]
        for recall in detector["recalls"]
        if recall["name"] == kind and recall["faces"]
    }


def _draw(panel: "Axes", kind: str, points: dict[str, tuple[float, Entry]]) -> None:
    for name, (median_ms, recall) in points.items():
        panel.plot([median_ms] * 2, [100 * recall["recall_from"], 100 * recall["recall_to"]], color="lightgray")
        panel.scatter(median_ms, 100 * recall["recall"], s=45, color=_color(name), zorder=3)
        faces = recall["faces"]
    times_ms = [median_ms for median_ms, _ in points.values()]
    panel.set_xscale("log")
    panel.set_xlim(min(times_ms) / 3, max(times_ms) * 5)  # room for names on both sides
    panel.set_xticks([tick for tick in TICKS_MS if min(times_ms) / 1.5 <= tick <= max(times_ms) * 4])
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
    panel.set_ylim(top=108)  # room for the names of those that find all
    panel.set_xlabel("median of a photograph, one thread, ms (logarithmic)")
    panel.set_ylabel("faces found, %, and 95 % interval")
    panel.set_title(TITLES[kind].format(faces), fontsize=11)
    panel.grid(alpha=0.3, which="both")
    name_points(panel.figure, panel, [(name, (ms, 100 * recall["recall"])) for name, (ms, recall) in points.items()])


def _color(detector: str) -> str:
    return next(color for name, color in COLORS.items() if detector.startswith(name))
