"""Parameters of `preprocess`."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, PositiveInt, model_validator

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class PreprocessParams(BaseModel, extra="forbid", frozen=True):
    """Fractions are of the images outside the source's test split; `test_fraction` is used if there is none.

    `taxonomy`: a file in conf/base/taxonomies. `mean_image_rows`: images averaged for each class.
    """

    taxonomy: str = "concepts"
    validation_fraction: Fraction = 0.1
    calibration_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.2
    mean_image_rows: PositiveInt = 500

    @model_validator(mode="after")
    def _some_rows_are_left_to_train_on(self) -> Self:
        if self.validation_fraction + self.calibration_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction, calibration_fraction and test_fraction add up to 1 or more"
            )
        return self
