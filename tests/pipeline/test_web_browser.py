"""The status page in a real browser: no errors, fast, and all of it by keyboard."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.slow

SCREENSHOTS = Path(__file__).parents[2] / ".inceptionloop" / "test" / "screenshots"
PLACES = ("/", "/jobs", "/models", "/meis", "/units", "/matrices", "/rate-maps", "/views")
FIRST_PAINT = """
const done = arguments[0];
new PerformanceObserver(found => done(found.getEntries()[0].startTime))
  .observe({type: "paint", buffered: true});
"""
BOX = """
const box = document.activeElement.getBoundingClientRect();
const style = getComputedStyle(document.activeElement);
return [box.top, box.bottom, innerHeight, style.outlineStyle, parseFloat(style.outlineWidth)];
"""


@pytest.fixture(scope="module")
def url(populated, database):
    """The command, running, against the populated database."""
    words = [sys.executable, "-m", "pipeline.cli", "web", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ, text=True) as process:
        try:
            yield re.match(r"http://\S+(?=/ )", process.stdout.readline())[0]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, without a window."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if None in programs.values():
        pytest.fail("no browser is installed: apt-get install chromium chromium-driver")
    options = Options()
    options.binary_location = programs["chromium"]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000"):
        options.add_argument(word)
    browser = Chrome(options, Service(programs["chromedriver"]))
    yield browser
    browser.quit()


def links(browser):
    """Return the addresses that a page links to on this site, without fragments."""
    site = re.match(r"http://[^/]+", browser.current_url)[0]
    found = (a.get_attribute("href") or "" for a in browser.find_elements(By.TAG_NAME, "a"))
    return [link.partition("#")[0] for link in found if link.startswith(site)]


def one_of_each_kind(browser, url):
    """Return the address of one page of every kind, by place and depth: models, models-5, ..."""
    kinds = {}
    for place in PLACES:
        browser.get(url + place)
        for link in [url + place, *links(browser)]:
            parts = link.removeprefix(url).partition("?")[0].strip("/").split("/")
            name = parts[0] or "overview"
            kinds.setdefault(name if len(parts) == 1 else f"{name}-{len(parts)}", link)
    return kinds


def test_no_page_has_an_error_and_each_is_seen(url, browser):
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    SCREENSHOTS.mkdir(parents=True)
    kinds = one_of_each_kind(browser, url)
    wanted = {"jobs-2", "models-5", "units-3", "matrices-5", "views-2", "explain-2"}
    assert wanted | {place.strip("/") or "overview" for place in PLACES} <= set(kinds)
    browser.get_log("browser")
    for kind, link in kinds.items():
        browser.get(link)
        images = browser.find_elements(By.TAG_NAME, "img")[:12]
        for image in images:
            browser.execute_script("arguments[0].scrollIntoView()", image)
        WebDriverWait(browser, 20).until(lambda b, images=images: all(map(is_drawn, images)))
        browser.execute_script("scrollTo(0, 0)")
        height = min(4000, browser.execute_script("return document.body.scrollHeight"))
        browser.set_window_size(1280, max(1000, height + 150))
        assert browser.save_screenshot(str(SCREENSHOTS / f"{kind}.png"))
        browser.set_window_size(1280, 1000)
        assert browser.get_log("browser") == [], link


def is_drawn(image):
    return image.get_property("complete") and image.get_property("naturalWidth") > 0


def test_a_narrow_window_needs_no_scrolling_sideways(url, browser):
    browser.set_window_size(520, 1000)
    try:
        for place in PLACES:
            browser.get(url + place)
            wide = (
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert browser.execute_script(wide) <= 0, place
        browser.get(url)
        browser.save_screenshot(str(SCREENSHOTS / "narrow.png"))
    finally:
        browser.set_window_size(1280, 1000)


def press(browser, key):
    ActionChains(browser).send_keys(key).perform()


def tab_to(browser, is_wanted, most=400):
    """Press Tab until an element is reached; every one on the way can be seen."""
    for _ in range(most):
        press(browser, Keys.TAB)
        here = browser.switch_to.active_element
        top, bottom, height, outline, width = browser.execute_script(BOX)
        assert bottom > 0 and top < height, here.get_attribute("outerHTML")
        assert outline != "none" and width >= 2, here.get_attribute("outerHTML")
        if is_wanted(here):
            return here
    raise AssertionError(f"not reached by {most} times Tab")


def leads_to(path):
    return lambda element: (element.get_attribute("href") or "").partition("?")[0].endswith(path)


def test_every_place_is_reached_by_tab_and_enter(url, browser):
    browser.get(url)
    for place in PLACES[1:] + PLACES[:1]:
        tab_to(browser, leads_to(place), most=15)
        press(browser, Keys.ENTER)
        WebDriverWait(browser, 10).until(lambda b, p=place: b.current_url == url + p)
        current = browser.find_element(By.CSS_SELECTOR, "nav [aria-current=page]")
        assert current.get_attribute("href") == url + place


def test_the_first_tab_skips_the_navigation(url, browser):
    browser.get(url)
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    press(browser, Keys.ENTER)
    press(browser, Keys.TAB)
    here = browser.switch_to.active_element
    assert browser.execute_script("return arguments[0].closest('main') !== null", here)


def test_the_first_image_is_reached_by_tab_and_enter(url, browser):
    browser.get(url)
    tab_to(browser, leads_to("/meis"), most=15)
    press(browser, Keys.ENTER)
    WebDriverWait(browser, 10).until(lambda b: b.current_url.endswith("/meis"))
    tab_to(browser, lambda element: "/units/" in (element.get_attribute("href") or ""), most=60)
    press(browser, Keys.ENTER)
    WebDriverWait(browser, 10).until(lambda b: "/units/" in b.current_url)


def test_the_overview_is_painted_at_once(url, browser):
    paints = []
    for _ in range(10):
        browser.get(url)
        paints.append(browser.execute_async_script(FIRST_PAINT))
    # other tests have the processors too: what a page needs is the least that it took
    assert min(paints) < 300, paints


def test_news_come_by_themselves_and_leave_the_keyboard_alone(url, browser):
    browser.get(url)
    first = tab_to(browser, leads_to("/jobs"), most=300)
    inside = tab_to(
        browser,
        lambda e: browser.execute_script("return !!arguments[0].closest('[data-live]')", e),
        most=300,
    )
    assert first != inside
    browser.execute_script("document.querySelectorAll('[data-live]').forEach(e => e.old = true)")
    replaced = "return [...document.querySelectorAll('[data-live]')].filter(e => !e.old).length"
    WebDriverWait(browser, 15).until(lambda b: b.execute_script(replaced) >= 2)
    assert browser.switch_to.active_element == inside
    assert browser.execute_script("return arguments[0].closest('[data-live]').old", inside)
