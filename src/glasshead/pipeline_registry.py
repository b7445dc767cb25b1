"""The pipelines by name, and the corridor that every classifier walks."""

from collections.abc import Iterable

from kedro.pipeline import Pipeline

from glasshead.pipelines import (
    calibrate,
    cnn_ablation,
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
    transfer_comparison,
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
    transfer = train_transfer.parent_pipeline() + train_transfer.create_pipeline()
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
        "cnn_ablation": pixels + ablation(),
        "transfer": from_images(pixels, transfer, "transfer"),
        "transfer_comparison": pixels + comparison(),
        "risk": pixels + for_classifier(audited_risk(), "risk"),
        "risk_export": for_classifier(export.create_pipeline(), "risk"),
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
    stages["report"] = report.create_pipeline(total([training, *stages.values()]).all_outputs())
    return {stage: for_classifier(template, name) for stage, template in stages.items()}


def from_images(data: Pipeline, training: Pipeline, name: str) -> Pipeline:
    """Return `data`, the template `training` and the corridor of classifier `name`, with the gate at the end."""
    stages = [for_classifier(training, name), *corridor(training, name).values()]
    return with_gate(total([data, *stages]), name)


def audited_risk() -> Pipeline:
    """Return the template of a risk auditor and its corridor."""
    corridor = (
        risk.create_pipeline()
        + calibrate.sigmoid_pipeline()
        + risk.proof_pipeline()
        + evaluate.sigmoid_pipeline()
    )
    return corridor + report.create_pipeline(corridor.all_outputs())


def ablation() -> Pipeline:
    """Return the trainings that differ in augmentation and seed, each as far as its metrics, and their comparison."""
    recipe = {"params:train_cnn": "params:cnn_ablation"}
    variants = [
        for_classifier(measured(train_cnn.create_pipeline(*variant)), name, recipe)
        for name, variant in cnn_ablation.VARIANTS.items()
    ]
    return total([*variants, cnn_ablation.create_pipeline()])


def comparison() -> Pipeline:
    """Return the parents and the trainings that differ in network, strategy, interpolation and seed; their comparison.

    Each training goes as far as its metrics.
    """
    recipe = {"params:train_transfer": "params:transfer_comparison"}
    parents = [
        for_classifier(train_transfer.parent_pipeline(architecture), name, recipe)
        for architecture, name in transfer_comparison.PARENTS.items()
    ]
    variants = [
        for_classifier(
            measured(train_transfer.create_pipeline(variant)),
            name,
            recipe,
            {"parent": f"{transfer_comparison.PARENTS[variant.architecture]}.parent"},
        )
        for name, variant in transfer_comparison.VARIANTS.items()
    ]
    return total([*parents, *variants, transfer_comparison.create_pipeline()])


def measured(training: Pipeline) -> Pipeline:
    """Return the template `training` and of the corridor no more than its metrics take."""
    whole = training + calibrate.create_pipeline() + evaluate.create_pipeline()
    return whole.to_outputs("metrics")


def for_classifier(
    template: Pipeline,
    name: str,
    renamed: dict[str, str] | None = None,
    inputs: dict[str, str] | None = None,
) -> Pipeline:
    """Return `template` in the namespace `name`; what all classifiers share keeps its name.

    So do parameters, but for those `renamed`. `inputs` come from elsewhere: by their name in `template`, that there.
    """
    parameters = {entry: entry for entry in template.inputs() if entry.startswith("params:")}
    return Pipeline(
        template,
        namespace=name,
        inputs={entry: entry for entry in SHARED & template.inputs()} | (inputs or {}),
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
