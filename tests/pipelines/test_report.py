"""The nodes of `report` on planted results: what they refuse, what they say is missing, and the graph as a whole."""

import logging
from types import SimpleNamespace

import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from glasshead.errors import ArtifactError
from glasshead.pipelines.report.comparison_nodes import compare_classifiers
from glasshead.pipelines.report.nodes import (
    ReportParams,
    judge_classifier,
    write_model_card,
    write_report,
)
from glasshead.pipelines.report.pipeline import create_pipeline

PARAMETERS = ReportParams()
FINDING = {
    "check": "shortcut",
    "severity": "high",
    "summary": "A mark decides.",
    "evidence": {"fraction": 0.81},
    "rows": ["test/0"],
    "advice": "Remove it.",
}
STALE = "Its report is older than its results"
TRAINING = "7ra1n1ng"


class FakeResults:
    """A folder of results in memory, all of them of one training but for those in `strange`."""

    def __init__(self, name="heads", **files):
        self.name = name
        self.strange = set()
        self.files = {place.replace("__", "/"): each for place, each in files.items()}

    def load(self, place):
        stem = place.rsplit(".", 1)[0]
        return self.files.get(stem)

    def training(self, place):
        return "another" if place in self.strange else TRAINING

    def figures(self, place):
        prefix = f"{place}/"
        return {
            name.removeprefix(prefix): png
            for name, png in self.files.items()
            if name.startswith(prefix)
        }


class FakeClassifier:
    def __init__(self, summary):
        self.output = summary["classifier"]["output"]
        self.classes = tuple(summary["classifier"]["classes"])
        self.described = {
            name: each for name, each in summary["classifier"].items() if name != "weights_sha256"
        }

    def describe(self):
        return self.described

    def weights_digest(self):
        return "5ha"

    def training_id(self):
        return TRAINING


def _provenance(files):
    return files["risk/summary"]["classifier"]["provenance"]


def judge(found, parameters=PARAMETERS):
    given = {name: found[name] for name in found if name in judge_classifier.__annotations__}
    return judge_classifier(**given, parameters=parameters)


@pytest.fixture
def found(planted_report):
    """Return what the corridor leaves, by dataset."""
    subject = planted_report.make_subject()
    predictions = subject.examples.drop(columns=["correct", "shown", "measured"])
    predictions.insert(1, "split", ["train", "train", "test"])
    images = planted_report.make_images(
        dict(zip(predictions["image_id"], predictions["label"], strict=True))
    )
    samples = images.frame().assign(split=predictions["split"])
    named = ["metrics", "class_recall", "confused_pairs", "reliability", "explanations", "examples"]
    return {name: getattr(subject, name) for name in named} | {
        "own_results": FakeResults(),
        "classifier": FakeClassifier(subject.summary),
        "samples": samples,
        "ingest_counts": subject.summary["data"],
        "predictions": predictions,
        "findings": [],
        "images": images,
    }


@pytest.fixture
def judged(found):
    return judge(found)


@pytest.fixture
def audited(planted_report):
    """Return what the corridor of a risk auditor leaves, by dataset."""
    subject = planted_report.make_risk_subject()
    images = planted_report.make_images({"train/0": "cat", "test/0": "cat", "test/1": "ship"})
    samples = images.frame().assign(split=["train", "test", "test"])
    return {
        "own_results": FakeResults("risk"),
        "results": FakeResults("08_reporting"),
        "classifier": FakeClassifier(subject.summary),
        "ingest_counts": subject.summary["data"],
        "samples": samples,
        "predictions": samples[["image_id", "split", "label"]].assign(
            **{"label/road": [1, 1, 0], "probability/road": [0.9, 0.2, 0.1]}
        ),
        "metrics": subject.metrics,
        "findings": [FINDING],
        "to_review": subject.to_review,
        "images": images,
        "run_record": planted_report.RECORD,
        "params:report": PARAMETERS,
        "class_balance_figure": planted_report.png(),
        "mean_images_figure": planted_report.png(),
        **{f"{name}_figure": png for name, png in subject.figures.items()},
    }


class TestJudging:
    def test_the_summary_says_what_it_is_of(self, judged):
        assert judged["splits"] == {"test": 1, "train": 2}
        assert judged["classifier"]["weights_sha256"] == "5ha"
        assert [each["answer"] for each in judged["verdicts"]] == ["yes", "no", "yes", "unresolved"]

    def test_what_is_called_right_is_a_parameter(self, found):
        strict = judge(found, ReportParams(right_from=0.97))
        assert strict["verdicts"][0]["answer"] == "no"

    def test_other_images_are_refused_before_anything_is_written(self, found, planted_report):
        predictions = found["predictions"]
        labels = dict(zip(predictions["image_id"], predictions["label"], strict=True))
        found["images"] = planted_report.make_images(labels, side=17)
        with pytest.raises(ArtifactError, match="do not match the image table"):
            judge(found)


class TestOptionalResults:
    @pytest.fixture
    def write(self, found, judged, planted_report):
        """Return functions that write report and card with what lies in the folder of all results."""

        def report(own=None, results=None, findings=()):
            accepted = write_report.__annotations__.keys() - {"findings"}
            given = {name: found[name] for name in found if name in accepted}
            return write_report(
                **given
                | {"own_results": own or FakeResults(), "results": results or FakeResults()},
                run_record=planted_report.RECORD,
                findings=list(findings),
                summary=judged,
                example_images={"pixels": planted_report.make_subject().pixels},
                class_balance_figure=planted_report.png(),
                mean_images_figure=planted_report.png(),
                parameters=PARAMETERS,
                reliability_figure=planted_report.png(),
            )

        def card(own=None, results=None, findings=()):
            folders = own or FakeResults(), results or FakeResults()
            return write_model_card(
                PARAMETERS,
                *folders,
                planted_report.RECORD,
                list(findings),
                judged,
                found["metrics"],
            )

        return SimpleNamespace(report=report, card=card)

    def test_what_has_not_run_is_named_with_its_command(self, write):
        again = "kedro run --pipelines=report"
        assert (
            f"Not run: kedro run --pipelines=robustness, then {again}, each with" in write.report()
        )
        assert f"Not run: kedro run --pipelines=risk, then {again}, each with" in write.report()
        assert "Checks of risk: none known to be on these images" in write.report()
        of_cnn = write.report(own=FakeResults("cnn"))
        assert "kedro run --pipelines=cnn_robustness" in of_cnn

    @pytest.mark.parametrize("is_current", [True, False])
    def test_robustness_counts_if_it_is_of_this_training(self, write, planted_report, is_current):
        table = pd.DataFrame(
            {
                "perturbation": ["clean", "jpeg"],
                "strength": [0.0, 5.0],
                "unit": [None, "quality"],
                **{name: [0.9, 0.4] for name in ("accuracy", "low", "high", "confidence")},
                "difference": [0.0, -0.5],
                "n": 30,
            }
        )
        own = FakeResults(robustness=table, figures__robustness=planted_report.png())
        own.strange = set() if is_current else {"robustness.csv"}
        for text in (write.report(own), write.card(own)):
            assert ("Measured on another training of this classifier" in text) != is_current
            assert ("Under jpeg of 5 (quality)" in text) == is_current

    def test_findings_of_all_checks_are_shown_the_worst_first(self, write, risk):
        own = [
            FINDING | {"severity": "low", "summary": "Small."},
            FINDING | {"severity": "medium", "summary": "Middling."},
        ]
        report, card = (each(results=risk, findings=own) for each in (write.report, write.card))
        for text in (report, card):
            places = [text.index(each) for each in ("A mark decides.", "Middling.", "Small.")]
            assert places == sorted(places)
        assert "Checks of this classifier: run, 2 findings." in report
        assert "Checks of risk: run, 1 finding." in report

    def test_the_images_of_a_finding_are_shown_with_the_answers_to_them(self, write):
        rows = ["test/1", "train/gone", "test/0"]
        report = write.report(findings=[FINDING | {"rows": rows}])
        shown = report.split('id="findings"')[1].split("</section>")[0]
        assert "3 images:" in shown
        assert shown.count("<img") == 2  # one is not in the table
        places = [shown.index(f">{each}<") for each in rows]
        assert places == sorted(places)
        assert "classifier: dog, 0.97" in shown

    def test_mistakes_of_a_risk_auditor_are_none_of_the_classifier(self, write, risk):
        mistakes = FINDING | {"check": "confident_mistakes", "summary": "The score errs."}
        risk.files["risk/findings"].append(mistakes)
        for text in (write.report(results=risk), write.card(results=risk)):
            assert "A mark decides." in text
            assert "The score errs." not in text

    def test_checks_that_were_not_made_are_counted_apart(self, write):
        missed = FINDING | {"evidence": {}, "summary": "Not checked: no masks."}
        found = [missed, FINDING]
        report, card = write.report(findings=found), write.card(findings=found)
        assert "Checks of this classifier: run, 1 finding; 1 not made." in report
        limits, failing = card.split("## Limitations")[1].split("## Failure modes")
        assert "Not checked: no masks." in limits
        assert "Not checked" not in failing.split("## Robustness")[0]

    def test_checks_that_found_nothing_are_named(self, write):
        assert "Checks of this classifier: run, and found nothing." in write.report()
        assert "The checks have found nothing on test images" in write.card()

    @pytest.fixture
    def risk(self, audited):
        """Return the folder of all results with what a run of `risk` leaves there."""
        figures = {name: audited[name] for name in audited if name.endswith("_figure")}
        return FakeResults(
            risk__metrics=audited["metrics"],
            risk__findings=audited["findings"],
            risk__summary=judge(audited),
            **{f"risk__figures__{name.removesuffix('_figure')}": figures[name] for name in figures},
        )

    def test_a_risk_on_these_images_is_shown(self, write, risk):
        report = write.report(results=risk)
        assert 'data-metric="pointing_game_centre"' in report
        assert 'alt="curves"' in report
        assert "A mark decides." in report
        assert "A mark decides." in write.card(results=risk)
        assert "Checks of risk: run, 1 finding." in report

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda files, _: _provenance(files).update(data="other"), "Measured on other images"),
            (lambda files, _: files.pop("risk/summary"), "Measured on unknown images"),
            (lambda files, _: _provenance(files).pop("data"), "Measured on unknown images"),
            (
                lambda files, own: [each.pop("data") for each in (_provenance(files), own)],
                "Measured on unknown images",
            ),
            (lambda files, _: files.pop("risk/metrics"), "Not run"),
        ],
    )
    def test_a_risk_that_may_be_of_something_else_is_not(self, write, judged, risk, change, reason):
        change(risk.files, judged["classifier"]["provenance"])
        report = write.report(results=risk)
        assert f"{reason}: kedro run --pipelines=risk, then" in report
        assert (
            "Checks of risk: none known to be on these images. Run kedro run --pipelines=risk"
            in report
        )
        for text in (report, write.card(results=risk)):
            assert "A mark decides." not in text
        assert 'alt="curves"' not in report

    @pytest.mark.parametrize("strange", ["metrics", "findings"])
    def test_results_of_another_training_than_their_report_are_not_shown(
        self, write, risk, strange
    ):
        risk.strange = {f"risk/{strange}.json"}
        report = write.report(results=risk)
        assert f"{STALE}: kedro run --pipelines=risk, then" in report
        for text in (report, write.card(results=risk)):
            assert "A mark decides." not in text

    def test_a_figure_of_another_training_is_not_shown(self, write, risk):
        risk.strange = {"risk/figures/highest.png"}
        report = write.report(results=risk)
        assert 'alt="curves"' in report
        assert 'alt="highest"' not in report


class TestSeveralLabels:
    def run(self, given, *outputs):
        pipeline = create_pipeline(given)
        assert given.keys() == pipeline.inputs()
        catalog = DataCatalog({name: MemoryDataset(each, "assign") for name, each in given.items()})
        found = SequentialRunner().run(pipeline.to_outputs(*outputs), catalog)
        return [found[name].load() for name in outputs]

    def test_the_summary_counts_and_judges(self, audited):
        [summary] = self.run(audited, "summary")
        assert summary["labels"] == {"test": {"road": 1}, "train": {"road": 1}}
        answers = [each["answer"] for each in summary["verdicts"]]
        assert answers == ["yes", "yes", "yes", "unresolved", "no"]

    def test_report_and_card_say_what_was_found(self, audited):
        for text in self.run(audited, "report", "model_card"):
            assert "A mark decides." in text

    def test_what_only_other_outputs_have_is_left_out(self, audited):
        [report, card] = self.run(audited, "report", "model_card")
        for anchor in ("robustness", "risk", "gallery", "classes"):
            assert f'id="{anchor}"' not in report
        assert "## Robustness" not in card
        assert "One temperature, 1.75, divides the logits of road" in card

    def test_the_images_of_a_finding_are_shown_with_the_probability(self, audited):
        [report] = self.run(audited, "report")
        shown = report.split('id="findings"')[1].split("</section>")[0]
        assert shown.count("<img") == 1
        assert "P(road) = 0.2" in shown

    def test_other_images_are_not_shown_under_these_names(self, audited, planted_report):
        labels = {"train/0": "cat", "test/0": "cat", "test/1": "ship"}
        audited["images"] = planted_report.make_images(labels, side=17)
        with pytest.raises(ArtifactError, match="do not match the image table"):
            self.run(audited, "report")


def test_the_graph_shows_the_figures_it_is_given(found, planted_report, judged):
    made = [*found, "example_images", "reliability_figure", "of_a_later_stage_figure"]
    pipeline = create_pipeline(made)
    given = found | {
        "results": FakeResults("08_reporting"),
        "run_record": planted_report.RECORD,
        "example_images": {"pixels": planted_report.make_subject().pixels},
        "params:report": PARAMETERS,
    }
    figures = [name for name in pipeline.inputs() if name.endswith("_figure")]
    given |= {name: planted_report.png() for name in figures}
    assert given.keys() == pipeline.inputs()
    catalog = DataCatalog({name: MemoryDataset(each, "assign") for name, each in given.items()})
    outputs = SequentialRunner().run(pipeline, catalog)
    assert {*outputs} == {"report", "model_card"}
    report = outputs["report"].load()
    assert 'alt="of a later stage"' in report
    assert report.count("<figure><img") == 4 + 2  # two of the data, two examples


class TestComparing:
    @pytest.fixture
    def files(self, planted_report):
        return {
            f"{name}__{part}": each
            for name in ("heads", "cnn")
            for part, each in {
                "summary": planted_report.make_summary(name),
                "metrics": planted_report.make_metrics(),
                "findings": [],
            }.items()
        }

    def test_those_without_a_report_are_named(self, files, caplog):
        with caplog.at_level(logging.WARNING):
            page = compare_classifiers(FakeResults(**files), PARAMETERS)
        assert "without a report are not compared: transfer, ensemble" in caplog.text
        assert "kedro run --pipelines=ensemble" in page
        assert "kedro run --pipelines=cnn" not in page

    def test_none_at_all_is_an_error(self):
        with pytest.raises(ArtifactError, match="There is no report on any of heads, cnn"):
            compare_classifiers(FakeResults(), PARAMETERS)

    def test_classifiers_of_other_images_are_not_compared(self, files):
        files["cnn__summary"]["classifier"]["provenance"]["data"] = "another"
        with pytest.raises(
            ArtifactError, match="cnn was trained on other images or splits than heads"
        ):
            compare_classifiers(FakeResults(**files), PARAMETERS)

    def test_a_report_on_another_training_than_its_metrics_is_refused(self, files):
        results = FakeResults(**files)
        results.strange = {"cnn/metrics.json"}
        with pytest.raises(ArtifactError, match="The report on cnn belongs to another training"):
            compare_classifiers(results, PARAMETERS)

    def test_a_class_and_labels_are_not_compared(self, files):
        files["cnn__summary"]["classifier"]["output"] = "sigmoid"
        with pytest.raises(ArtifactError, match="cnn and heads cannot be compared"):
            compare_classifiers(FakeResults(**files), PARAMETERS)

    def test_findings_are_shown_beside_each_other(self, files):
        files["cnn__findings"] = [FINDING]
        page = compare_classifiers(FakeResults(**files), PARAMETERS)
        assert "high: A mark decides." in page


@pytest.mark.parametrize("wrong", [{"right_from": 90}, {"megabytes": 16}, {"compare": []}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        ReportParams(**wrong)
