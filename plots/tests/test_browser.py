"""report.html in a real browser: it shows, sorts, filters, enlarges, copies, and fits a phone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WAIT_SECS = 20

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="chromium is missing: sudo apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.add_argument("--headless=new")
    if os.getuid() == 0:
        options.add_argument("--no-sandbox")  # chromium refuses to run as root without it
    options.add_argument("--disable-dev-shm-usage")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    grant = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    driver.execute_cdp_cmd("Browser.grantPermissions", grant)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(study_dir: Path) -> Path:
    command = [sys.executable, "-m", "plots.report", study_dir]
    subprocess.run(command, cwd=CHECKOUT, check=True, timeout=120)
    return study_dir / "report.html"


@pytest.fixture
def study(browser: webdriver.Chrome, page: Path) -> webdriver.Chrome:
    show(browser, page)
    return browser


def show(browser: webdriver.Chrome, page: Path, width: int = 1200, **media: str) -> None:
    """Opens the page afresh, as wide and in the medium that is asked for."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": media.get("scheme", "light")}
    wanted = {"media": media.get("medium", "screen"), "features": [scheme]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    browser.get_log("browser")  # what earlier pages said
    browser.get(page.resolve().as_uri())


def one(browser: webdriver.Chrome, selector: str) -> object:
    return browser.find_element(By.CSS_SELECTOR, selector)


def column(browser: webdriver.Chrome, table: str, name: str) -> list[str]:
    """What the visible rows have in the column, to sort by."""
    return browser.execute_script(
        """
        const table = document.getElementById(arguments[0]);
        const names = [...table.tHead.rows[0].cells].map((cell) => cell.innerText.split("\\n")[0]);
        const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
        return rows.map((row) => row.cells[names.indexOf(arguments[1])].dataset.sort);
        """,
        table,
        name,
    )


def click_header(browser: webdriver.Chrome, table: str, name: str) -> None:
    headers = browser.find_elements(By.CSS_SELECTOR, f"#{table} th button")
    header = next(header for header in headers if header.text.split("\n")[0] == name)
    browser.execute_script("arguments[0].click()", header)


def clipboard(browser: webdriver.Chrome) -> str:
    return browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")


def press(browser: webdriver.Chrome, selector: str, says: str) -> None:
    """Clicks a button and waits until the page says what it did."""
    browser.execute_script("arguments[0].click()", one(browser, selector))
    WebDriverWait(browser, WAIT_SECS).until(lambda b: one(b, "#said").text == says)


def pictures(browser: webdriver.Chrome) -> list[int]:
    """The pictures' own widths, once all of them are decoded; a broken one has 0."""
    return browser.execute_async_script(
        """
        const images = [...document.querySelectorAll(".pictures img")];
        const done = arguments[0];
        Promise.allSettled(images.map((image) => image.decode()))
            .then(() => done(images.map((image) => image.naturalWidth)));
        """
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_picture_shows_and_nothing_is_loaded(
    browser: webdriver.Chrome, page: Path, run_dir_with_report: Path, scheme: str
) -> None:
    for path in (page, run_dir_with_report / "report.html"):
        show(browser, path, scheme=scheme)
        widths = pictures(browser)
        assert len(widths) >= 4 and all(widths), widths
        loaded = browser.execute_script(
            "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        )
        assert all(name.startswith("data:") for name in loaded)
        assert browser.get_log("browser") == []


def test_dark_is_dark(browser: webdriver.Chrome, page: Path) -> None:
    def lightness(scheme: str) -> int:
        show(browser, page, scheme=scheme)
        colour = one(browser, "body").value_of_css_property("background-color")
        return int(colour.partition("(")[2].split(",")[0])

    assert lightness("dark") < 60 < 200 < lightness("light")


def test_a_click_on_a_header_sorts_and_another_turns_it(study: webdriver.Chrome) -> None:
    click_header(study, "points-load-table", "throughput")
    rising = [float(value) for value in column(study, "points-load-table", "throughput")]
    assert len(rising) == 4 and rising == sorted(rising)
    click_header(study, "points-load-table", "throughput")
    falling = [float(value) for value in column(study, "points-load-table", "throughput")]
    assert falling == rising[::-1]


def test_what_is_not_known_is_sorted_last(study: webdriver.Chrome) -> None:
    for _ in range(2):
        click_header(study, "runs-table", "throughput")
        values = column(study, "runs-table", "throughput")
        assert values.count("") == 1 and values[-1] == ""


def test_a_filter_leaves_the_rows_that_fit(study: webdriver.Chrome) -> None:
    field = one(study, "[data-filter=runs-table]")
    field.send_keys("failed tasks 1")
    assert len(column(study, "runs-table", "verdict")) == 1
    field.send_keys(" nonsense")
    assert column(study, "runs-table", "verdict") == []
    assert one(study, "#runs .none").is_displayed()
    field.clear()
    field.send_keys(Keys.SPACE)
    assert len(column(study, "runs-table", "verdict")) == 10


def test_a_picture_enlarges_and_leads_to_the_next(study: webdriver.Chrome) -> None:
    dialog = one(study, "#enlarged")
    assert not dialog.is_displayed()
    study.execute_script("arguments[0].click()", one(study, ".enlarge"))
    assert dialog.is_displayed()
    large = one(study, "#enlarged img")
    assert large.size["width"] > one(study, ".pictures img").size["width"]
    first = large.get_attribute("src")
    dialog.send_keys(Keys.ARROW_RIGHT)
    assert large.get_attribute("src") != first
    dialog.send_keys(Keys.ESCAPE)
    WebDriverWait(study, WAIT_SECS).until(lambda _: not dialog.is_displayed())


def test_tables_are_copied_as_markdown(study: webdriver.Chrome) -> None:
    press(study, "[data-markdown=points-load-table]", "Table copied")
    lines = clipboard(study).splitlines()
    assert lines[0].startswith("| batch size | tasks | throughput ops/s | mean ms |")
    assert lines[1] == "|" + " --- |" * (lines[0].count("|") - 1)
    assert len(lines) == 2 + 4 and all(line.count("|") == lines[0].count("|") for line in lines)
    press(study, "[data-markdown=final]", "Table copied")
    assert clipboard(study).startswith("| figure | value |\n| --- | --- |\n| Final throughput | ")


def test_a_command_is_copied_whole(study: webdriver.Chrome) -> None:
    press(study, "#points-load-table [data-command]", "Command copied")
    assert clipboard(study).startswith("./run-cluster.sh --batch-size 64 --tasks 1 --local")


def test_a_phone_scrolls_in_one_direction(
    browser: webdriver.Chrome, page: Path, run_dir_with_report: Path
) -> None:
    for path in (page, run_dir_with_report / "report.html"):
        show(browser, path, width=390)
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_paper_has_no_buttons_and_whole_commands(browser: webdriver.Chrome, page: Path) -> None:
    show(browser, page, medium="print")
    for selector in ("nav", "input", "[data-markdown]", "[data-command]"):
        assert not one(browser, selector).is_displayed()
    code = one(browser, "#points-load-table code")
    assert code.value_of_css_property("white-space") == "normal" and code.is_displayed()
