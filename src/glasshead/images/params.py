"""Parameters of `preprocess`, which every audit of a split may read."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, PositiveInt, model_validator

from glasshead.images.taxonomy import AUTO

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class PreprocessParams(BaseModel, extra="forbid", frozen=True):
    """The taxonomy, and the fractions of images in each split.

    taxonomy: the name of a file in conf/base/taxonomies; auto is `concepts` for the classes of the scenes, and
        `classes` for any others.
    validation_fraction, calibration_fraction: fractions of the images outside the source's test split. If the source
        has a validation split, their ratio divides it between validation and calibration.
    test_fraction: used only if the source has no test split.
    group_by: an attribute, such as patient or camera, whose values must not be in several splits.
    trained_on: only for a classifier from outside: none of the images, or the path of a folder of images, or of a text
        file of their ids or file names, on which it was trained. They become train and validation, and all others
        calibration and test. Null: unknown, or the classifier is trained here.
    mean_image_rows: images averaged for each class.
    """

    taxonomy: str = AUTO
    validation_fraction: Fraction = 0.1
    calibration_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.2
    group_by: str | None = None
    trained_on: str | None = None
    mean_image_rows: PositiveInt = 500

    @model_validator(mode="after")
    def _some_rows_are_left_to_train_on(self) -> Self:
        if self.validation_fraction + self.calibration_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction, calibration_fraction and test_fraction must add up to less than 1"
            )
        return self
