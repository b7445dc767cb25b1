"""What README, how-tos and notebooks tell a user to type exists, and the corridors' tests run it."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from click import Context
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Pipeline
from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig
from pydantic import BaseModel

from glasshead.cli import cli
from glasshead.images.taxonomy import parse_taxonomy
from glasshead.pipeline_registry import register_pipelines
from glasshead.pipelines.risk.params import RiskParams
from glasshead.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
HOW_TO = ROOT / "docs" / "how-to"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted({*(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "benchmarks.md"}),  # generated
    *sorted(HOW_TO.glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.py")),
]
FENCED = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:kedro|make|glasshead|mlflow) [^`]+)`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
CALLS = {"run": "kedro run", "predict": "glasshead predict", "kedro": "kedro"}
OTHERS = {"aws", "jupytext", "mlflow", "pip", "python", "ray", "source"}


def text_of(page: Path) -> str:
    text = page.read_text()
    return re.sub(r"^# ?", "", text, flags=re.MULTILINE) if page.suffix == ".py" else text


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield every command and the page it stands on, in fenced blocks and in running text."""
    for page in PAGES:
        text = text_of(page)
        lines = [line for block in FENCED.findall(text) for line in block.splitlines()]
        inline = [" ".join(code.split()) for code in INLINE.findall(FENCED.sub("", text))]
        for line in [*lines, *inline]:
            if words := shlex.split(line, comments=True):
                yield page.name, words


COMMANDS = {f"{page}: {' '.join(words)}": words for page, words in commands()}

# Commands, or the words that they begin with, which no test runs.
NOT_RUN = {
    "kedro run --pipelines=embed --params=embed.engine=ray,embed.ray.address=HEAD:6379": "wants a cluster",
    "kedro run --params=ingest.scenes.train=48000,ingest.scenes.test=12000": "takes ten minutes",
    "kedro viz run": "a web server that runs until it is stopped; TestSite builds its pages",
    "make": "sets up an environment, or takes hours; `make run` is `kedro run`, and TestSite does what `make viz` does",
    "mlflow": "a web server that runs until it is stopped",
    "pip": "installs packages",
    "python": "other packages' own: a download from the hub, a bucket, whether torch sees a GPU",
    "aws": "wants a bucket",
}
# Commands whose runs go no further than to datasets that the call names, and what makes the rest the same.
SAME_IMAGES = "to embeddings: from there as from any source"
SAME_CORRIDOR = (
    "to metrics: figures, explanations and report as in the whole runs of the classifier"
)
CUT = {
    "kedro run --params=ingest.source=parquet,ingest.parquet.path=DIR,preprocess.taxonomy=classes": SAME_IMAGES,
    "kedro run --params=ingest.source=parquet,ingest.parquet.path=s3://BUCKET/DIR,"
    "preprocess.taxonomy=classes": SAME_IMAGES,
    "kedro run --params=ingest.source=hub,ingest.hub.id=OWNER/NAME,preprocess.taxonomy=classes": SAME_IMAGES,
    "kedro run --params=embed.device=cpu": SAME_IMAGES,
    "kedro run --params=ingest.source=parquet,ingest.parquet.path=DIR,preprocess.taxonomy=seed": SAME_CORRIDOR,
    "kedro run --params=ingest.source=image_folder,ingest.image_folder.path=DIR,backbone.name=timm:resnet18,"
    "backbone.weights=my-resnet18.pth": SAME_CORRIDOR,
    "kedro run --params=ingest.source=image_folder,ingest.image_folder.path=DIR,"
    "ingest.image_folder.attributes=metadata.csv,preprocess.group_by=patient": "to samples: the rest is as always",
    "kedro run --params=ingest.source=image_folder,ingest.image_folder.path=DIR,"
    "preprocess.taxonomy=NAME": SAME_CORRIDOR,
    "kedro run --params=preprocess.taxonomy=seed,train_heads.training.epochs=20": SAME_CORRIDOR,
    "kedro run --pipelines=cnn --params=train_cnn.architecture=resnet18,train_cnn.width=1,"
    "train_cnn.threads=null": SAME_CORRIDOR,
    "kedro run --pipelines=cnn --params=train_cnn.augmentation=mixup_cutmix,"
    "train_cnn.training.epochs=30": SAME_CORRIDOR,
    "kedro run --pipelines=cnn --params=train_cnn.device=cuda": SAME_CORRIDOR,
    "kedro run --env cifar10 --pipelines=cnn": SAME_CORRIDOR,
    "kedro run --env cifar10 --pipelines=transfer": SAME_CORRIDOR,
    "kedro run --pipelines=transfer --params=train_transfer.strategy.strategy=frozen,"
    "train_transfer.network.interpolation=bicubic": SAME_CORRIDOR,
    "kedro run --pipelines=transfer --params=train_transfer.network.pretrained=imagenet,"
    "train_transfer.network.width=1,train_transfer.network.backbone_size=224": SAME_CORRIDOR,
    "kedro run --pipelines=external --params=external.model.kind=program,external.model.path=my-classifier.pt2,"
    "external.model.trusted=true": SAME_CORRIDOR,
    "kedro run --pipelines=external --params=external.model.kind=python,external.model.path=my_model.py:make,"
    "external.model.trusted=true": SAME_CORRIDOR,
    "kedro run --pipelines=risk --params=risk.risks=bird+frog": SAME_CORRIDOR,
    "kedro run --pipelines=risk --params=backbone.name=./rn50": SAME_CORRIDOR,
    "kedro run --pipelines=risk --params=ingest.source=parquet,ingest.parquet.path=DIR,"
    "preprocess.taxonomy=classes": SAME_CORRIDOR,
}


def calls() -> Iterator[tuple[str, bool]]:
    """Yield each command that a corridor's test runs word by word, and whether no further than to some datasets."""
    for path in sorted((ROOT / "tests").glob("test_*corridor.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name), args=args) if name in CALLS:
                    words = [arg.value for arg in args if isinstance(arg, ast.Constant)]
                    if len(words) == len(args):
                        command = " ".join([CALLS[name], *words])
                        yield command, any(keyword.arg == "to" for keyword in node.keywords)


@cache
def pipelines() -> dict[str, Pipeline]:
    return register_pipelines()


@cache
def base_parameters(env: str) -> dict[str, Any]:
    loader = OmegaConfigLoader(str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)
    return loader["parameters"]


def merged(base: dict[str, Any], given: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return `base` with what is `given` on the command line; a name that it lacks fails."""
    result = dict(base)
    for name, value in given.items():
        assert name in base, f"there is no parameter {path}{name}"
        both = isinstance(value, dict) and isinstance(base[name], dict)
        result[name] = merged(base[name], value, f"{path}{name}.") if both else value
    return result


def check_run(words: list[str]) -> None:
    """Fail unless pipelines, nodes, environment and parameters are there, and the parameters valid."""
    given = cli.commands["run"].make_context("run", words).params
    names = given["pipelines"] or [given["pipeline"] or "__default__"]
    assert set(names) <= pipelines().keys()
    whole = sum((pipelines()[name] for name in names), Pipeline([]))
    nodes = {node.name for node in whole.nodes}
    assert {*given["from_nodes"], *given["to_nodes"], *given["node_names"]} <= nodes
    env = given["env"] or "base"
    assert (ROOT / "conf" / env).is_dir()
    parameters = merged(base_parameters(env), given["params"] or {})
    for node in whole.nodes:
        for entry, hint in zip(node.inputs, get_type_hints(node.func).values(), strict=False):
            if entry.startswith("params:") and issubclass(hint, BaseModel):
                hint.model_validate(parameters[entry.removeprefix("params:")])


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets)


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_exists_with_its_options(words: list[str]) -> None:
    program, *rest = words
    if program == "make":
        check_make(rest)
    elif program in ("kedro", "glasshead") and rest[0] == "run":
        check_run(rest[1:])
    elif program in ("kedro", "glasshead") and rest[0] != "viz":
        command = cli.commands[rest[0]]
        command.make_parser(Context(command)).parse_args(rest[1:])
    else:
        assert program in OTHERS | {"kedro"}


def test_commands_are_found() -> None:
    assert "train-a-network.md: kedro run --pipelines=cnn" in COMMANDS
    assert "README.md: make viz" in COMMANDS


def test_every_command_is_run_or_said_not_to_be() -> None:
    documented = {" ".join(words) for words in COMMANDS.values()}
    run, whole = (
        {command for command, _ in calls()},
        {command for command, cut in calls() if not cut},
    )
    named = {
        start: {command for command in documented if f"{command} ".startswith(f"{start} ")}
        for start in NOT_RUN
    }
    assert documented - run == set().union(*named.values())
    assert all(named.values())
    assert (documented & run) - whole == CUT.keys()


@pytest.mark.parametrize(
    "words",
    [
        ["--pipelines=nowhere"],
        ["--env=nowhere"],
        ["--params=embed.nothing=1"],
        ["--params=embed.batch_size=-1"],
        ["--from-nodes=nowhere"],
    ],
)
def test_a_wrong_command_would_be_found(words: list[str]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_run(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(text_of(page)):
        assert (page.parent / target).exists(), target


def blocks(page: str) -> list[Any]:
    text = (HOW_TO / page).read_text()
    found = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [yaml.safe_load(block) for block in found]


def test_the_settings_for_a_server_are_complete() -> None:
    (settings,) = blocks("mlflow-server.md")
    config = KedroMlflowConfig.model_validate(settings)
    assert config.tracking.experiment.create_experiment_kwargs.artifact_location is None
    base = yaml.safe_load((ROOT / "conf/base/mlflow.yml").read_text())["tracking"]
    base["experiment"].pop("create_experiment_kwargs")
    assert settings["tracking"] == base


def test_the_taxonomies_of_the_how_to_are_sound() -> None:
    for content in blocks("own-taxonomy.md"):
        parse_taxonomy("mine", {"mine": content}, ("bus", "car", "horse", "ship"))


@pytest.mark.parametrize("page", ["own-images.md", "audit-a-risk.md"])
def test_the_parameters_of_the_how_tos_are_known(page: str) -> None:
    (settings,) = blocks(page)
    parameters = merged(base_parameters("base"), settings)
    RiskParams.model_validate(parameters["risk"])
