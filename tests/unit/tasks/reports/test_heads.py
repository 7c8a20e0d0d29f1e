"""Reports of several heads: what each has, under names that begin with the head's."""

from dataclasses import replace

from pipeline.tasks.judging.heads import HeadsExaminer, one_examiner
from pipeline.tasks.reports.heads import HeadsReport, one_report
from pipeline.tasks.reports.report import make_report
from tests.support.problems import COUNT, HEADS, KIND, SEEN, answers, row_images

OUTPUTS, TARGETS = answers(60)
REPORT = make_report(HEADS, calibration_bins=10)


def test_names_are_those_of_the_heads_before_their_own() -> None:
    assert list(REPORT.metrics(OUTPUTS, TARGETS)) == [
        *("kind/ece", "kind/worst_class_recall"),
        *("seen/map", "seen/ece", "seen/worst_class_f1"),
        *("count/median_error", "count/p95_error", "count/bias"),
    ]
    assert list(REPORT.tables(OUTPUTS, TARGETS)) == [
        *("kind-reliability.csv", "kind-classes.csv"),
        *("seen-reliability.csv", "seen-classes.csv"),
        "count-errors.csv",
    ]
    assert list(REPORT.pictures(OUTPUTS, TARGETS, row_images, 3)) == [
        *("kind-confusion.png", "kind-reliability.png", "kind-worst.png"),
        *("seen-classes.png", "seen-reliability.png", "seen-worst.png"),
        *("count-predicted.png", "count-errors.png", "count-worst.png"),
    ]


def test_a_head_reports_what_it_would_alone() -> None:
    metrics, tables = REPORT.metrics(OUTPUTS, TARGETS), REPORT.tables(OUTPUTS, TARGETS)
    for head, notes, output in (
        ("kind", KIND, "logits"),
        ("seen", SEEN, "logits"),
        ("count", COUNT, "value"),
    ):
        alone = make_report(notes, calibration_bins=10)
        outputs, targets = {output: OUTPUTS[head]}, {"label": TARGETS[head]}
        for name, value in alone.metrics(outputs, targets).items():
            assert metrics[f"{head}/{name}"] == value
        for name, text in alone.tables(outputs, targets).items():
            assert tables[f"{head}-{name}"] == text


def test_notes_decide_the_report() -> None:
    heads = HeadsExaminer(HEADS).examiners
    assert HeadsReport({name: one_report(each, 10) for name, each in heads.items()}) == REPORT
    assert make_report(KIND, 10) == one_report(one_examiner(KIND), 10)
    named = replace(one_examiner(SEEN), target="seen", output="seen")
    assert one_report(named, 10).examiner == heads["seen"]
