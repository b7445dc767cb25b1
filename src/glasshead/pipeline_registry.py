"""The pipelines by name, and the corridor that every classifier walks."""

from collections.abc import Iterable

from kedro.pipeline import Pipeline

from glasshead.pipelines import (
    calibrate,
    embed,
    ensemble,
    evaluate,
    explain,
    export,
    ingest,
    preprocess,
    pretrain,
    report,
    risk,
    robustness,
    train_cnn,
    train_heads,
    train_transfer,
)

SHARED = {
    "class_balance_figure",
    "classifiers",
    "embedding_store",
    "embeddings",
    "images",
    "ingest_counts",
    "mean_images_figure",
    "planted",
    "results",
    "run_record",
    "samples",
    "taxonomy",
    "transfer_parents",
}

FULL = {"params:explain": "params:explain_full"}


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name. The bare names of a classifier's stages mean `heads`."""
    data = {
        "ingest": ingest.create_pipeline(),
        "preprocess": preprocess.create_pipeline(),
        "embed": embed.create_pipeline(),
    }
    heads, cnn = train_heads.create_pipeline(), train_cnn.create_pipeline()
    transfer = train_transfer.create_pipeline()
    stages = corridor(heads, "heads")
    pixels = data["ingest"] + without_backbone(data["preprocess"])
    whole = from_images(total(data.values()), heads, "heads")
    return {
        **data,
        "embed_texts": embed.texts_pipeline(),
        "train_heads": for_classifier(heads, "heads"),
        "train_cnn": for_classifier(cnn, "cnn"),
        "train_transfer": for_classifier(transfer, "transfer"),
        **stages,
        "evaluate": with_gate(stages["evaluate"], "heads"),
        "explain_full": for_classifier(explain.create_pipeline(concepts=True), "heads", FULL),
        "robustness": for_classifier(robustness.create_pipeline(), "heads"),
        "export": for_classifier(export.create_pipeline(), "heads"),
        **{
            f"{name}_{stage}": for_classifier(template, name, renamed)
            for name in ("cnn", "transfer", "ensemble")
            for stage, template, renamed in (
                ("explain_full", explain.create_pipeline(concepts=False), FULL),
                ("robustness", robustness.create_pipeline(), {}),
                ("export", export.create_pipeline(), {}),
            )
        },
        "pretrain": pretrain.create_pipeline(),
        "report_comparison": report.comparison_pipeline(),
        "heads": whole,
        "cnn": from_images(pixels, cnn, "cnn"),
        "cnn_ablation": pixels + for_classifier(train_cnn.ablation_pipeline(), "cnn_ablation"),
        "transfer": from_images(pixels, transfer, "transfer"),
        "transfer_comparison": pixels
        + for_classifier(train_transfer.comparison_pipeline(), "transfer_comparison"),
        "risk": pixels + for_classifier(audited_risk(), "risk"),
        "risk_ablation": pixels + for_classifier(risk.ablation_pipeline(), "risk_ablation"),
        "ensemble": from_images(Pipeline([]), ensemble.create_pipeline(), "ensemble"),
        "__default__": whole,
    }


def corridor(training: Pipeline, name: str) -> dict[str, Pipeline]:
    """Return the stages behind the template `training` of classifier `name`, without the gate.

    A training that reads embeddings makes a bottleneck, whose concepts are explained too.
    """
    concepts = "embeddings" in training.inputs()
    stages = {
        "calibrate": calibrate.create_pipeline(),
        "evaluate": evaluate.create_pipeline(),
        "explain": explain.create_pipeline(concepts=concepts),
    }
    stages["report"] = report.create_pipeline(figures_of(total([training, *stages.values()])))
    return {stage: for_classifier(template, name) for stage, template in stages.items()}


def from_images(data: Pipeline, training: Pipeline, name: str) -> Pipeline:
    """Return `data`, the template `training` and the corridor of classifier `name`, with the gate at the end."""
    stages = [for_classifier(training, name), *corridor(training, name).values()]
    return with_gate(total([data, *stages]), name)


def audited_risk() -> Pipeline:
    """Return the template of a risk auditor and its report."""
    auditor = risk.create_pipeline()
    return auditor + report.risk_pipeline(figures=figures_of(auditor))


def figures_of(pipeline: Pipeline) -> list[str]:
    """Return the figures that `pipeline` draws."""
    return sorted(name for name in pipeline.all_outputs() if name.endswith("_figure"))


def for_classifier(
    template: Pipeline,
    name: str,
    renamed: dict[str, str] | None = None,
) -> Pipeline:
    """Return `template` in the namespace `name`; what all classifiers share keeps its name.

    So do parameters, but for those `renamed`.
    """
    parameters = {entry: entry for entry in template.inputs() if entry.startswith("params:")}
    return Pipeline(
        template,
        namespace=name,
        inputs={entry: entry for entry in SHARED & template.inputs()},
        parameters=parameters | (renamed or {}),
    )


def without_backbone(preprocess: Pipeline) -> Pipeline:
    """Return `preprocess` for classifiers that read pixels: no CLIP is looked for."""
    return preprocess - preprocess.only_nodes_with_outputs("processor")


def with_gate(pipeline: Pipeline, name: str) -> Pipeline:
    """Return `pipeline` with the accuracy gate of classifier `name` behind all that it saves."""
    ends = pipeline.outputs() - {f"{name}.metrics"}
    shared = {end for end in ends if not end.startswith(f"{name}.")}
    gate = evaluate.gate_pipeline(after=sorted(end.removeprefix(f"{name}.") for end in ends))
    return pipeline + Pipeline(gate, namespace=name, inputs=shared, parameters={"params:evaluate"})


def total(pipelines: Iterable[Pipeline]) -> Pipeline:
    """Return the sum of `pipelines`."""
    return Pipeline(list(pipelines))
