"""A headless browser for tests of pages, and digits that are drawn in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

needs_browser = pytest.mark.skipif(
    not (shutil.which("chromedriver") and shutil.which("chromium")), reason="needs Debian's chromium"
)

# Strokes in a unit square, y downward.
STROKES = {
    0: [
        [
            (0.5, 0.15),
            (0.33, 0.25),
            (0.27, 0.5),
            (0.33, 0.75),
            (0.5, 0.85),
            (0.67, 0.75),
            (0.73, 0.5),
            (0.67, 0.25),
            (0.5, 0.15),
        ]
    ],
    1: [[(0.52, 0.15), (0.5, 0.5), (0.48, 0.85)]],
    2: [
        [
            (0.3, 0.28),
            (0.4, 0.17),
            (0.56, 0.16),
            (0.66, 0.28),
            (0.62, 0.42),
            (0.45, 0.62),
            (0.28, 0.82),
            (0.5, 0.82),
            (0.74, 0.82),
        ]
    ],
    3: [
        [
            (0.32, 0.2),
            (0.5, 0.15),
            (0.65, 0.25),
            (0.62, 0.4),
            (0.47, 0.48),
            (0.65, 0.56),
            (0.68, 0.72),
            (0.52, 0.85),
            (0.32, 0.8),
        ]
    ],
    4: [[(0.36, 0.18), (0.3, 0.52), (0.7, 0.52)], [(0.64, 0.18), (0.62, 0.85)]],
    7: [[(0.28, 0.2), (0.72, 0.2), (0.58, 0.5), (0.46, 0.85)]],
}


@contextmanager
def browser(width: int = 1100, height: int = 700) -> Iterator[Any]:
    """Start Chromium, and quit it at exit."""
    pytest.importorskip("selenium")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={width},{height}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def open_page(driver: Any, address: str) -> None:
    """Open the page and wait until it is ready."""
    driver.get(address)
    waiting(driver, lambda: driver.find_elements("css selector", "body[data-ready=yes]"))


def waiting(driver: Any, condition: Callable[[], object]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 30).until(lambda _: condition())


def prediction_of_drawn(driver: Any, digit: int) -> int:
    """Clear the canvas, draw a digit with the mouse, and return the prediction that the page displays."""
    from selenium.webdriver.common.action_chains import ActionChains

    canvas, answer = driver.find_element("id", "drawing"), driver.find_element("id", "answer")
    width = canvas.size["width"]
    driver.find_element("id", "clear").click()
    waiting(driver, lambda: answer.text == "Draw a digit to see the prediction.")
    hand = ActionChains(driver, duration=10)
    for stroke in STROKES[digit]:
        for index, (x, y) in enumerate(stroke):
            hand.move_to_element_with_offset(canvas, int((x - 0.5) * width), int((y - 0.5) * width))
            if index == 0:
                hand.click_and_hold()
        hand.release()
    hand.perform()
    return displayed(driver)


def displayed(driver: Any) -> int:
    """Return the prediction that the page displays after its current computation."""
    answer = driver.find_element("id", "answer")
    waiting(driver, lambda: answer.text.startswith("Prediction: "))
    waiting(driver, lambda: driver.execute_script("return !state.busy"))
    return int(answer.text.split()[1].rstrip(","))
