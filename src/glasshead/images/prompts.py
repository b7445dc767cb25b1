"""Prompts: what a taxonomy's answers and the classes of the data are called in words, for a zero-shot classifier.

A prompt stands for what an image shows: "a photo of a <class>" after Radford et al. 2021, arXiv:2103.00020, section
3.1.4, and "a photo of something whose <subtask> is <value>" unless the taxonomy's `prompts` say it better.
"""

from typing import Literal, NamedTuple

from glasshead.images.taxonomy import Subtask, Taxonomy, in_words


class Prompt(NamedTuple):
    """What an image of the class `value` shows, or one for which `value` is the answer of `subtask`."""

    text: str
    kind: Literal["class", "value"]
    subtask: str | None
    value: str


def class_prompts(classes: tuple[str, ...]) -> list[Prompt]:
    """Return one prompt for each class, in index order."""
    return [Prompt(f"a photo of a {in_words(name)}", "class", None, name) for name in classes]


def write_prompts(taxonomy: Taxonomy, classes: tuple[str, ...]) -> list[Prompt]:
    """Return one prompt for each class, then one for each value of each subtask, all in index order."""
    of_values = [
        Prompt(_describe(task, value), "value", task.name, value)
        for task in taxonomy.subtasks
        for value in task.values
    ]
    return class_prompts(classes) + of_values


def _describe(task: Subtask, value: str) -> str:
    written = f"a photo of something whose {in_words(task.name)} is {in_words(value)}"
    return task.prompts.get(value, written)
