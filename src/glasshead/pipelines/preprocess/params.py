"""Parameters of `preprocess`."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, PositiveInt, model_validator

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class PreprocessParams(BaseModel, extra="forbid", frozen=True):
    """Shares are of the images that are not given as test; `test_share` counts where none is.

    `taxonomy`: a file of conf/base/taxonomies. `mean_image_rows`: images a class's mean is taken over.
    """

    taxonomy: str = "concepts"
    validation_share: Share = 0.1
    calibration_share: Share = 0.1
    test_share: Share = 0.2
    mean_image_rows: PositiveInt = 500

    @model_validator(mode="after")
    def _some_rows_are_left_to_train_on(self) -> Self:
        if self.validation_share + self.calibration_share + self.test_share >= 1:
            raise ValueError(
                "validation_share, calibration_share and test_share add up to 1 or more"
            )
        return self
