"""Taxonomies: the small named questions ("does it have wheels?") whose answers a bottleneck learns.

A taxonomy is a YAML file with `subtasks`, each defined one of three ways:

    wheels: {map: {"yes": [automobile, truck], "no": [bird, cat]}}   # from the class
    habitat: {attribute: habitat, values: [sky, road, water]}       # from an attribute column of the image table
    brightness: {function: brightness}                              # from the pixels (glasshead.images.functions)

For a zero-shot classifier, a subtask may have prompts: for an answer, a description of an image that has it:

    wheels: {map: …, prompts: {"yes": a photo of something on wheels}}

Answers without a prompt get "a photo of something whose <subtask> is <value>", classes "a photo of a <class>"
(Radford et al. 2021, arXiv:2103.00020, section 3.1.4).

`each_class: true` instead of `subtasks` asks one yes/no question for each class, for data without its own taxonomy.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Self

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field, ValidationError, model_validator

from glasshead.calibration.temperature import FINAL
from glasshead.errors import TaxonomyError, plain_validation
from glasshead.images.functions import IMAGE_FUNCTIONS, ImageFunction
from glasshead.progress import reported


class Pictures(Protocol):
    """What `add_targets` needs of an image table: `pil(row)` gives an RGB image."""

    def pil(self, row: int) -> Image.Image: ...


class Subtask(BaseModel, extra="forbid", frozen=True):
    """One question: its name, its answers in index order, and its definition, one of `map`, `attribute`, `function`."""

    name: str
    values: tuple[str, ...] = ()
    map: dict[str, tuple[str, ...]] | None = None
    attribute: str | None = None
    function: str | None = None
    prompts: dict[str, Annotated[str, Field(min_length=1)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _derive_values(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and not raw.get("values"):
            if raw.get("map"):
                return {**raw, "values": tuple(raw["map"])}
            if raw.get("function") in IMAGE_FUNCTIONS:
                return {**raw, "values": IMAGE_FUNCTIONS[raw["function"]].values}
        return raw

    @model_validator(mode="after")
    def _defined_once(self) -> Self:
        definitions = (self.map, self.attribute, self.function)
        if sum(definition is not None for definition in definitions) != 1:
            raise ValueError("give exactly one of map, attribute, function")
        if self.function is not None and self.function not in IMAGE_FUNCTIONS:
            raise ValueError(
                f"unknown image function {self.function!r}; known: {', '.join(IMAGE_FUNCTIONS)}"
            )
        if self.name == FINAL:
            raise ValueError(
                f"{FINAL!r} is the name of the classifier's own output: choose another"
            )
        if "/" in self.name or any("/" in value for value in self.values):
            raise ValueError("names and values must not contain '/'")
        if self.map is not None:
            classes = [name for names in self.map.values() for name in names]
            if twice := sorted({name for name in classes if classes.count(name) > 1}):
                raise ValueError(f"classes with two values: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        if len(self.values) < 2:
            raise ValueError("a subtask needs at least two values")
        if len(set(self.values)) < len(self.values):
            raise ValueError("a value is listed twice")
        if self.map is not None and set(self.values) != set(self.map):
            raise ValueError(f"values must be those of its map: {', '.join(self.map)}")
        if self.function is not None and self.values != IMAGE_FUNCTIONS[self.function].values:
            raise ValueError("an image function has its own values: leave `values` out")
        if unknown := [value for value in self.prompts if value not in self.values]:
            raise ValueError(
                f"prompts for {', '.join(unknown)}, which are not among its values {', '.join(self.values)}"
            )
        return self

    @property
    def classes(self) -> frozenset[str]:
        """The classes that `map` covers; empty for subtasks defined in another way."""
        return frozenset(name for names in (self.map or {}).values() for name in names)


class Taxonomy(BaseModel, extra="forbid", frozen=True):
    """A named list of subtasks that covers the classes of the data."""

    name: str
    subtasks: tuple[Subtask, ...]


AUTO = "auto"  # the taxonomy that preprocess chooses by the classes


def check_taxonomy(
    name: str, taxonomies: Mapping[str, Any], classes: tuple[str, ...] | None
) -> None:
    """Raise TaxonomyError as `parse_taxonomy`; without `classes`, only if there is no taxonomy of this name."""
    if name != AUTO and (classes is not None or name not in taxonomies):
        parse_taxonomy(name, taxonomies, classes or ())


def parse_taxonomy(
    name: str, taxonomies: Mapping[str, Callable[[], Any] | Any], classes: tuple[str, ...]
) -> Taxonomy:
    """Return the taxonomy `name` among `taxonomies` (name to content, or to a function that loads it).

    Raises:
        TaxonomyError: no such taxonomy, a malformed one, or one that leaves out classes of the data.
    """
    if name not in taxonomies:
        raise TaxonomyError(
            f"There is no taxonomy {name!r}. Known: {', '.join(sorted(taxonomies))}. "
            "Set `preprocess.taxonomy`, or add conf/base/taxonomies/<name>.yml."
        )
    content = _read(name, taxonomies[name])
    if not isinstance(content, Mapping) or len({"subtasks", "each_class"} & set(content)) != 1:
        raise TaxonomyError(
            f"Taxonomy {name!r} needs either `subtasks` or `each_class: true` at its top level."
        )
    definitions = (
        _one_per_class(classes) if content.get("each_class") else content.get("subtasks") or {}
    )
    try:
        subtasks = tuple(
            Subtask(name=str(key), **(value or {})) for key, value in definitions.items()
        )
        taxonomy = Taxonomy(name=name, subtasks=subtasks)
    except (ValidationError, TypeError, AttributeError) as error:
        raise TaxonomyError(
            f"Taxonomy {name!r} is malformed: {plain_validation(str(error))}\nNames must be text: YAML "
            "reads yes, no and numbers as something else unless they are in quotes."
        ) from error
    if not subtasks:
        raise TaxonomyError(f"Taxonomy {name!r} has no subtasks. List at least one.")
    _check_coverage(taxonomy, classes)
    return taxonomy


def _read(name: str, raw: Callable[[], Any] | Any) -> Any:
    try:
        return raw() if callable(raw) else raw
    except Exception as error:  # what a broken file raises depends on the catalog's loader
        raise TaxonomyError(f"Taxonomy {name!r} cannot be read: {error}") from error


def _one_per_class(classes: tuple[str, ...]) -> dict[str, Any]:
    questions = {
        f"is_{name.replace('/', '_')}": {
            "map": {"yes": [name], "no": [other for other in classes if other != name]},
            "prompts": {
                "yes": f"a photo of a {in_words(name)}",
                "no": f"a photo of something that is no {in_words(name)}",
            },
        }
        for name in classes
    }
    if len(questions) < len(classes):
        raise TaxonomyError(
            "Two class names are equal once '/' is written as '_', as it is in names of subtasks. "
            "Rename one, or write a taxonomy of your own."
        )
    return questions


def in_words(name: str) -> str:
    """Return the name of a class, subtask or value as it is written in a prompt."""
    return name.replace("_", " ")


def _check_coverage(taxonomy: Taxonomy, classes: tuple[str, ...]) -> None:
    gaps = [
        f"{task.name}: {', '.join(missing)}"
        for task in taxonomy.subtasks
        if task.map is not None
        and (missing := [name for name in classes if name not in task.classes])
    ]
    if gaps:
        raise TaxonomyError(
            f"Taxonomy {taxonomy.name!r} has no value for these classes: {'; '.join(gaps)}. "
            f"Add them to conf/base/taxonomies/{taxonomy.name}.yml, or set `preprocess.taxonomy` to one that covers "
            "the data (`classes` asks one question for each class)."
        )


def add_targets(samples: pd.DataFrame, images: Pictures, taxonomy: Taxonomy) -> pd.DataFrame:
    """Return `samples` with an integer column `target/<subtask>` for each subtask; both have the same rows in order.

    Raises:
        TaxonomyError: an attribute column is missing, or a row holds a value or label that the subtask does not list.
    """
    tasks = taxonomy.subtasks
    answers = {task.name: _from_table(task, samples) for task in tasks if not task.function}
    functions = {task.name: IMAGE_FUNCTIONS[task.function] for task in tasks if task.function}
    answers |= _from_pixels(functions, images, len(samples))
    return samples.assign(**{f"target/{task.name}": answers[task.name] for task in tasks})


def _from_table(task: Subtask, samples: pd.DataFrame) -> np.ndarray:
    index = {value: position for position, value in enumerate(task.values)}
    column = f"attribute/{task.attribute}" if task.map is None else "label"
    if task.map is not None:
        index = {name: index[value] for value, names in task.map.items() for name in names}
    if column not in samples:
        raise TaxonomyError(
            f"Subtask {task.name!r} reads the attribute {task.attribute!r}, which this data does not have. "
            "Name its column in `attribute_columns` of a parquet or hub source and run from ingest on, or use a "
            "taxonomy without it."
        )
    answers = samples[column].map(index)
    if answers.isna().any():
        rows = samples.loc[answers.isna(), ["image_id", column]].head(5).to_dict("records")
        raise TaxonomyError(
            f"Subtask {task.name!r} lists {', '.join(index)}; {int(answers.isna().sum())} rows hold something else, "
            f"such as {rows}. Add their values to the taxonomy, or leave the subtask out."
        )
    return answers.to_numpy(np.int64)


def _from_pixels(
    functions: dict[str, ImageFunction], images: Pictures, count: int
) -> dict[str, np.ndarray]:
    answers = {name: np.zeros(count, dtype=np.int64) for name in functions}
    rows = range(count if functions else 0)
    for row in reported(rows, "images answered from their pixels", count):
        image = images.pil(row)
        for name, function in functions.items():
            answers[name][row] = function(image)
    return answers


class Prompt(NamedTuple):
    """The description of an image of the class `value`, or of an image whose answer to `subtask` is `value`."""

    text: str
    kind: Literal["class", "value"]
    subtask: str | None
    value: str


def class_prompts(classes: tuple[str, ...]) -> list[Prompt]:
    """Return one prompt for each class, in index order."""
    return [Prompt(f"a photo of a {in_words(name)}", "class", None, name) for name in classes]


def write_prompts(taxonomy: Taxonomy, classes: tuple[str, ...]) -> list[Prompt]:
    """Return one prompt for each class, then one for each value of each subtask, all in index order."""
    prompts = class_prompts(classes)
    for task in taxonomy.subtasks:
        for value in task.values:
            default = f"a photo of something whose {in_words(task.name)} is {in_words(value)}"
            text = task.prompts.get(value, default)
            prompts.append(Prompt(text, "value", task.name, value))
    return prompts
