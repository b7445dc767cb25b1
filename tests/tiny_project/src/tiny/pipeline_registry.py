import io
import random
import time
from pathlib import Path
from typing import Literal

import mlflow
import numpy as np
import pandas as pd
from kedro.pipeline import Node, Pipeline
from matplotlib.figure import Figure
from PIL import Image
from pydantic import BaseModel

from glasshead.errors import GateError
from glasshead.images.table import ImageTable


class TinyParams(BaseModel, extra="forbid", frozen=True):
    taxonomy: str
    fractions: dict[str, float]
    name: str = ""
    fate: Literal["finish", "break", "gate", "interrupt", "wait", "lose_server"]


def make_images(backbone: dict, ingest: dict) -> ImageTable:
    data = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(data, "PNG")
    record = {
        "image_id": "train/0",
        "image": data.getvalue(),
        "label": "cat",
        "given_split": "train",
        "mask": None,
        "attributes": {},
        "defects": [],
    }
    return ImageTable.from_records([record], ["cat"])


def train(images: ImageTable, parameters: TinyParams) -> pd.DataFrame:
    if parameters.fate == "lose_server":
        mlflow.set_tracking_uri("http://127.0.0.1:9")  # a port where nothing listens
    table = {"phase": "joint", "epoch": [0, 1], "train_loss": [0.5, 0.25]}
    table |= {"validation_accuracy": [np.nan, 1.0], "images": [10, 20]}
    return pd.DataFrame(table)


def measure(training_history: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    return {
        "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 10},
        "temperature": {"value": 1.5, "low": None, "high": None, "n": 5},
        "draw": {"value": random.random() + np.random.rand()},
    }


def draw(training_history: pd.DataFrame) -> Figure:
    figure = Figure()
    figure.add_subplot().plot(training_history["train_loss"])
    return figure


def meet_fate(metrics: dict, figure: bytes, parameters: TinyParams) -> None:
    if parameters.fate == "break":
        raise ZeroDivisionError("a bug")
    if parameters.fate == "gate":
        raise GateError("accuracy 0.9 is below 0.95: train longer")
    if parameters.fate == "interrupt":
        raise KeyboardInterrupt
    if parameters.fate == "wait":
        Path(f"waiting.{parameters.name}").touch()
        time.sleep(120)


def register_pipelines() -> dict[str, Pipeline]:
    parameters, history = "params:preprocess", "heads.training_history"
    nodes = [
        Node(make_images, ["params:backbone", "params:ingest"], "images", name="make_images"),
        Node(train, ["images", parameters], history, name="train", namespace="heads"),
        Node(measure, history, "heads.metrics", name="measure", namespace="heads"),
        Node(draw, history, "heads.training_history_figure", name="draw", namespace="heads"),
        Node(
            meet_fate,
            ["heads.metrics", "heads.training_history_figure", parameters],
            None,
            name="meet_fate",
            namespace="heads",
        ),
    ]
    return {"__default__": Pipeline(nodes)}
