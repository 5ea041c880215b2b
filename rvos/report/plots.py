"""Pictures of results."""

import io
from pathlib import Path

import numpy as np

from rvos.masks import write_bytes
from rvos.report.metrics import Metrics


def write_heat_map(path: Path, metrics: Metrics, title: str) -> None:
    """J&F by window and tau as PNG: the best cell framed, the coarse score on the colour bar.

    Nothing is written without a grid, or for one with one window or one threshold only.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    cells = metrics.cells
    windows = list(dict.fromkeys(row.settings["window"] for row in cells))
    taus = list(dict.fromkeys(row.settings["tau"] for row in cells))
    if min(len(windows), len(taus)) < 2:
        return
    scores = np.full((len(windows), len(taus)), np.nan)  # (windows, taus), percent
    for row in cells:
        place = windows.index(row.settings["window"]), taus.index(row.settings["tau"])
        scores[place] = 100 * row.summary.JF
    inches = (1.6 + 0.75 * len(taus), 1.4 + 0.55 * len(windows))
    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.add_subplot()
    coarse = 100 * metrics.coarse.summary.JF
    low, high = min(scores.min(), coarse), scores.max()
    image = axes.imshow(scores, cmap="viridis", aspect="auto", vmin=low, vmax=high)
    best = np.unravel_index(scores.argmax(), scores.shape)
    for (row, column), score in np.ndenumerate(scores):
        dark = score < (low + high) / 2
        weight = "bold" if (row, column) == best else "normal"
        axes.text(
            column,
            row,
            f"{score:.1f}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if dark else "black",
            weight=weight,
        )
    corner = (best[1] - 0.5, best[0] - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="red", linewidth=2))
    axes.set_xticks(range(len(taus)), [f"{tau:g}" for tau in taus])
    axes.set_yticks(range(len(windows)), [str(window) for window in windows])
    axes.set_xlabel("threshold tau")
    axes.set_ylabel("window W (frames)")
    axes.set_title(title, fontsize=10)
    bar = figure.colorbar(image, ax=axes, label="J&F (percent)")
    bar.ax.axhline(coarse, color="red", linewidth=2)
    bar.ax.text(0.5, coarse, "coarse ", color="red", ha="right", va="bottom", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_bytes(path, buffer.getvalue())
