"""Parameters of `train_heads`."""

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from glasshead.training.bottleneck import BottleneckTraining


class TrainHeadsParams(BaseModel, extra="forbid", frozen=True):
    """Shape and training of the bottleneck, and of the baselines beside it."""

    hidden: PositiveInt = 64
    meta_hidden: PositiveInt = 512
    training: BottleneckTraining = BottleneckTraining()
    probe_strengths: tuple[PositiveFloat, ...] = Field(default=(0.01, 0.1, 1.0), min_length=1)
    random_concept_seeds: PositiveInt = 3
