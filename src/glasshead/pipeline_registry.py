"""All pipelines by name. Those of the classifiers are built from one table, `CLASSIFIERS`."""

from collections.abc import Callable
from dataclasses import dataclass

from kedro.pipeline import Pipeline

from glasshead.calibration.temperature import Output
from glasshead.pipelines.calibrate import pipeline as calibrate
from glasshead.pipelines.embed import pipeline as embed
from glasshead.pipelines.ensemble import pipeline as ensemble
from glasshead.pipelines.evaluate import pipeline as evaluate
from glasshead.pipelines.explain import pipeline as explain
from glasshead.pipelines.export import pipeline as export
from glasshead.pipelines.external import pipeline as external
from glasshead.pipelines.ingest import pipeline as ingest
from glasshead.pipelines.preprocess import pipeline as preprocess
from glasshead.pipelines.pretrain import pipeline as pretrain
from glasshead.pipelines.report import pipeline as report
from glasshead.pipelines.risk import pipeline as risk
from glasshead.pipelines.robustness import pipeline as robustness
from glasshead.pipelines.train_cnn import pipeline as train_cnn
from glasshead.pipelines.train_heads import pipeline as train_heads
from glasshead.pipelines.train_transfer import pipeline as train_transfer


@dataclass(frozen=True)
class Kind:
    """What distinguishes a kind of classifier; everything else is common to all kinds.

    Attributes:
        training: makes the template of its training, whose outputs are `uncalibrated`, `logits` and `baselines`.
        data: the data stages (keys of `DATA`) that run before the training.
        concepts: whether the classifier predicts through concepts; if so, the concepts are explained too.
        output: softmax or sigmoid. A classifier with a sigmoid output has no explain and no robustness stage.
        outside: whether somebody else trained the classifier, who may have used any images.
        proof: makes the template of the checks of its risk maps, run after calibrate; None if it has no such maps.
    """

    training: Callable[[], Pipeline]
    data: tuple[str, ...] = ("ingest", "preprocess")
    concepts: bool = False
    output: Output = "softmax"
    outside: bool = False
    proof: Callable[[], Pipeline] | None = None


DEFAULT = "heads"  # the classifier whose stages have no prefix: `evaluate`, not `heads_evaluate`
CLASSIFIERS = {
    "heads": Kind(
        train_heads.create_pipeline, data=("ingest", "preprocess", "embed"), concepts=True
    ),
    "cnn": Kind(train_cnn.create_pipeline),
    "transfer": Kind(train_transfer.create_pipeline),
    "ensemble": Kind(ensemble.create_pipeline, data=()),
    "external": Kind(external.create_pipeline, outside=True),
    "risk": Kind(risk.create_pipeline, output="sigmoid", proof=risk.proof_pipeline),
}
CORRIDOR = ("train", "calibrate", "prove", "evaluate", "explain", "report")


def group(template: Pipeline, name: str) -> Pipeline:
    """Return `template` with its nodes in the namespace `name`, a box in Kedro-Viz; datasets keep their names."""
    return Pipeline(template, namespace=name, prefix_datasets_with_namespace=False)


DATA = {
    "ingest": group(ingest.create_pipeline(), "ingest"),
    "preprocess": group(preprocess.create_pipeline(), "preprocess"),
    "embed": group(embed.create_pipeline(), "embed"),
}
SHARED = {"classifiers", "embedding_store", "results", "run_record", "transfer_parents"}.union(
    *(stage.all_outputs() for stage in DATA.values())
)


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name: data stages, each classifier and its stages, comparisons, and tools.

    Stages of the classifier `heads` have no prefix (`evaluate`); those of others are called `<classifier>_<stage>`.
    Trainings are called `train_<classifier>`.
    """
    pipelines = dict(DATA)
    for name, kind in CLASSIFIERS.items():
        stages = stages_of(name)
        corridor = Pipeline([stages[stage] for stage in CORRIDOR if stage in stages])
        pipelines[name] = data_stages(*kind.data) + corridor
        if kind.output == "softmax":
            pipelines[name] = with_gate(pipelines[name], name)
            stages["evaluate"] = with_gate(stages["evaluate"], name)
        pipelines[f"train_{name}"] = stages.pop("train")
        prefix = "" if name == DEFAULT else f"{name}_"
        pipelines |= {f"{prefix}{stage}": pipeline for stage, pipeline in stages.items()}
    pixels = data_stages("ingest", "preprocess")
    studies = {
        "cnn_ablation": train_cnn.ablation_pipeline(),
        "transfer_comparison": train_transfer.comparison_pipeline(),
        "risk_ablation": risk.ablation_pipeline(),
    }
    return {
        **pipelines,
        **{name: pixels + for_classifier(template, name) for name, template in studies.items()},
        "embed_texts": embed.texts_pipeline(),
        "pretrain": pretrain.create_pipeline(),
        "report_comparison": report.comparison_pipeline(),
        "__default__": pipelines[DEFAULT],
    }


def stages_of(name: str) -> dict[str, Pipeline]:
    """Return the stages of classifier `name`: those of `CORRIDOR`, and those that run only when they are named."""
    kind = CLASSIFIERS[name]
    templates = {
        "train": kind.training(),
        "calibrate": calibrate.create_pipeline(kind.output),
        "evaluate": evaluate.create_pipeline(kind.output, outside=kind.outside),
        "export": export.create_pipeline(),
    }
    if kind.output == "softmax":
        templates["explain"] = explain.create_pipeline(concepts=kind.concepts)
        templates["robustness"] = robustness.create_pipeline()
    if kind.proof:
        templates["prove"] = kind.proof()
    corridor = Pipeline([templates[stage] for stage in CORRIDOR if stage in templates])
    templates["report"] = report.create_pipeline(corridor.all_outputs())
    stages = {stage: for_classifier(template, name, stage) for stage, template in templates.items()}
    if "explain" in templates:
        full = {"params:explain": "params:explain_full"}
        stages["explain_full"] = for_classifier(templates["explain"], name, "explain", full)
    return stages


def data_stages(*names: str) -> Pipeline:
    """Return the data stages `names`; without `embed`, the node that looks for a CLIP backbone is left out."""
    stages = Pipeline([DATA[name] for name in names])
    if "preprocess" in names and "embed" not in names:
        stages -= stages.only_nodes_with_outputs("processor")
    return stages


def for_classifier(
    template: Pipeline,
    name: str,
    stage: str | None = None,
    renamed: dict[str, str] | None = None,
) -> Pipeline:
    """Return `template` in the namespace `name`, its nodes grouped as `stage`.

    The datasets in `SHARED` keep their names, and so do all parameters except those in `renamed`.
    """
    parameters = {entry: entry for entry in template.inputs() if entry.startswith("params:")}
    return Pipeline(
        group(template, stage) if stage else template,
        namespace=name,
        inputs={entry: entry for entry in SHARED & template.inputs()},
        parameters=parameters | (renamed or {}),
    )


def with_gate(pipeline: Pipeline, name: str) -> Pipeline:
    """Return `pipeline` with one more last node, the accuracy gate of classifier `name`.

    The gate runs once every output is saved, and fails the run if the accuracy is too low.
    """
    ends = pipeline.outputs() - {f"{name}.metrics"}
    shared = {end for end in ends if not end.startswith(f"{name}.")}
    gate = evaluate.gate_pipeline(after=sorted(end.removeprefix(f"{name}.") for end in ends))
    return pipeline + Pipeline(gate, namespace=name, inputs=shared, parameters={"params:evaluate"})
