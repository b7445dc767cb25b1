"""Plot the picture at the top of the first page from what the default run left: `python docs/images/hero.py`."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

LEFT = Path("data/08_reporting/heads/explanations")
MAPS = "attention_rollout"
CONCEPTS = 5
BLUE = "#0072B2"


def main() -> None:
    """Plot one right decision: the image, its strongest concepts, where the network looks, and the answer."""
    examples = pd.read_parquet(LEFT / "examples.parquet")
    pixels, shapley, maps = (
        np.load(LEFT / f"{name}.npz") for name in ("example_images", "shapley", "attributions")
    )
    right = examples[examples["shown"] & examples["correct"] & (examples["label"] == "truck")]
    row = int(right.index[0])
    image = pixels["pixels"][row].transpose(1, 2, 0)
    values = shapley["values"][row]
    order = np.argsort(-values)[:CONCEPTS][::-1]

    figure = Figure(figsize=(11, 3.4))
    photograph, bars, heat = (
        figure.add_axes(box)
        for box in ((0.01, 0.1, 0.22, 0.72), (0.43, 0.1, 0.3, 0.72), (0.77, 0.1, 0.22, 0.72))
    )
    photograph.imshow(image)
    photograph.set_title("an image", fontsize=13)
    bars.barh([answer(shapley, row, player) for player in order], values[order], color=BLUE)
    for position, value in enumerate(values[order]):
        bars.text(value + 0.01, position, f"+{value:.2f}", va="center", fontsize=12)
    bars.set_xlim(0, 1.25 * values.max())
    bars.set_title(
        f"what it sees  →  {examples['predicted'][row]}, {100 * examples['confidence'][row]:.1f} % sure",
        fontsize=13,
    )
    bars.tick_params(labelsize=12, length=0)
    bars.set_xticks([])
    bars.spines[:].set_visible(False)
    heat.imshow(image)
    size = len(image)
    shown = maps[MAPS][list(maps[f"{MAPS}/rows"]).index(row)]
    heat.imshow(
        shown,
        cmap="inferno",
        alpha=0.6,
        extent=(-0.5, size - 0.5, size - 0.5, -0.5),
        interpolation="bilinear",
    )
    heat.set_title("where it looks", fontsize=13)
    for axes in (photograph, heat):
        axes.set_axis_off()
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110, metadata={"Software": None})


def answer(shapley: dict[str, np.ndarray], row: int, player: int) -> str:
    """Return a concept and its likeliest value, such as "wheels: yes"."""
    columns = np.flatnonzero(shapley["concept_player"] == player)
    best = columns[shapley["concepts"][row, columns].argmax()]
    return f"{str(shapley['players'][player]).replace('_', ' ')}: {shapley['concept_value'][best]}"


if __name__ == "__main__":
    main()
