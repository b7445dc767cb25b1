"""The pages in headless Chromium: wide and narrow, light, dark and on paper, with labels that mean harm."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from glasshead.reporting.comparison_report import Compared, comparison_page
from glasshead.reporting.report import report_page

LIMIT = 15_000_000
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HARM = ["<script>document.title = 'harm'</script>", "<img src=x onerror=\"document.title='harm'\">"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield Chromium: the system's, or the one that `playwright install chromium` left."""
    with sync_playwright() as playwright:
        try:
            launched = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=ARGUMENTS
            )
        except Error:
            pytest.skip("absent device: no Chromium (make browser)")
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def pages(planted_report, tmp_path_factory) -> dict[str, str]:
    """Return addresses of pages by what they are of."""
    make = planted_report.make_subject
    many = [f"class {place} " + "long" * 100 for place in range(1000)]
    metrics = planted_report.make_metrics()
    classifiers = {
        name: Compared(
            planted_report.make_summary(name), metrics, [], {"reliability": planted_report.png()}
        )
        for name in ("heads", "cnn", "transfer", "a_classifier_with_quite_a_long_name")
    }
    texts = {
        "usual": report_page(make(), LIMIT),
        "harm": report_page(make([*HARM, "ship" * 80], image_id=HARM[0], checks=HARM), LIMIT),
        "many": report_page(make(many), LIMIT),
        "comparison": comparison_page(classifiers, ["ensemble"], LIMIT),
        "risk": report_page(planted_report.make_risk_subject(HARM[0]), LIMIT),
    }
    folder: Path = tmp_path_factory.mktemp("pages")
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    return {name: (folder / f"{name}.html").as_uri() for name in texts}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield a page that fails the test if it logs an error or asks for anything but itself."""
    page, complaints = browser.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:")) or complaints.append(request.url)
        ),
    )
    yield page
    page.close()
    assert complaints == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ["usual", "harm", "many", "comparison", "risk"])
def test_it_fits_its_width_and_runs_nothing_strange(page, pages, name, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(pages[name])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.clientWidth") <= width
    assert page.title() in (
        "Report of heads",
        "Classifiers compared",
        "Report of risk",
    )


def test_the_policy_stops_a_script_that_is_not_the_pages(browser, pages):
    """The pages hold none; this one is added to show that it would not run."""
    page = browser.new_page()
    page.goto(pages["usual"])
    page.evaluate(
        "() => { const script = document.createElement('script'); script.textContent = 'document.title = \"harm\"';"
        "document.body.append(script); }"
    )
    assert page.title() == "Report of heads"
    page.close()


def test_tables_sort_by_number_with_the_undefined_last(page, pages):
    page.goto(pages["usual"])
    table = page.locator("#classes table").first
    head = table.locator("th", has_text="recall")
    column = table.locator("tbody tr td:nth-child(3)")
    head.locator("button").click()
    assert column.all_inner_texts() == ["0.6", "1", "undefined"]
    head.locator("button").click()
    assert column.all_inner_texts() == ["1", "0.6", "undefined"]
    assert head.get_attribute("aria-sort") == "descending"


def test_a_figure_opens_large_and_closes(page, pages):
    page.goto(pages["usual"])
    image, dialog = page.locator("#calibration img"), page.locator("dialog")
    assert not dialog.is_visible()
    image.click()
    assert dialog.locator("img").get_attribute("src") == image.get_attribute("src")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    image.press("Enter")
    assert dialog.is_visible()


def test_dark_and_paper_have_colours_of_their_own(page, pages):
    page.goto(pages["usual"])
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == "rgb(20, 24, 31)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    scroll = "getComputedStyle(document.querySelector('.scroll')).maxHeight"
    assert page.evaluate(scroll) == "none"


def test_on_a_phone_a_comparison_is_a_block_for_each_metric_and_can_be_sorted(page, pages):
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(pages["comparison"])
    first, second = (page.locator("#metrics tbody tr").first.locator("td").nth(n) for n in (0, 1))
    assert second.bounding_box()["y"] > first.bounding_box()["y"]
    named = "cell => getComputedStyle(cell, '::before').content"
    assert second.evaluate(named) == '"best"'
    before = first.inner_text()
    page.locator("#metrics th button").first.dblclick()
    assert page.locator("#metrics tbody tr td").first.inner_text() != before
    assert not page.locator("#verdicts thead").is_visible()


def test_on_paper_each_measure_is_named_in_its_cell_and_figures_are_in_one_column(page, pages):
    """Chromium draws figures over each other where columns of them break between pages."""
    page.goto(pages["usual"])
    cell = page.locator("#explanations td[data-of]").first
    named = "cell => getComputedStyle(cell, '::before').content"
    columns = "getComputedStyle(document.querySelector('.figures')).columnCount"
    assert (cell.evaluate(named), page.evaluate(columns)) == ("none", "2")
    page.emulate_media(media="print")
    assert (cell.evaluate(named), page.evaluate(columns)) == ('"check of random weights"', "auto")
    assert page.locator("#explanations td[data-of]").count() == 12
    assert not page.locator("#explanations thead").is_visible()
