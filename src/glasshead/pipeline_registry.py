"""The pipelines by name, and the corridor that every classifier walks."""

from kedro.pipeline import Pipeline

from glasshead.pipelines import (
    calibrate,
    embed,
    evaluate,
    explain,
    ingest,
    preprocess,
    pretrain,
    train_heads,
)

SHARED = {"embeddings", "images", "samples", "taxonomy"}


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name. The bare names of a classifier's stages mean `heads`."""
    data = {
        "ingest": ingest.create_pipeline(),
        "preprocess": preprocess.create_pipeline(),
        "embed": embed.create_pipeline(),
    }
    stages = {
        "train_heads": for_classifier(train_heads.create_pipeline(), "heads"),
        "calibrate": for_classifier(calibrate.create_pipeline(), "heads"),
        "evaluate": for_classifier(evaluate.create_pipeline(), "heads"),
        "explain": for_classifier(explain.create_pipeline(), "heads"),
    }
    heads = with_gate(sum([*data.values(), *stages.values()], Pipeline([])), "heads")
    stages["evaluate"] = with_gate(stages["evaluate"], "heads")
    named = {**data, **stages, "pretrain": pretrain.create_pipeline()}
    return {**named, "heads": heads, "__default__": heads}


def for_classifier(template: Pipeline, name: str) -> Pipeline:
    """Return `template` in the namespace `name`; what all classifiers share, and parameters, keep their names."""
    return Pipeline(
        template,
        namespace=name,
        inputs=SHARED & template.inputs(),
        parameters={entry for entry in template.inputs() if entry.startswith("params:")},
    )


def with_gate(pipeline: Pipeline, name: str) -> Pipeline:
    """Return `pipeline` with the accuracy gate of classifier `name` behind all that it saves."""
    ends = pipeline.outputs() - {f"{name}.metrics"}
    shared = {end for end in ends if not end.startswith(f"{name}.")}
    gate = evaluate.gate_pipeline(after=sorted(end.removeprefix(f"{name}.") for end in ends))
    return pipeline + Pipeline(gate, namespace=name, inputs=shared, parameters={"params:evaluate"})
