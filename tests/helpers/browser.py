"""Headless Chromium, for tests of a page."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CSS = "css selector"
Browser = Any  # selenium.webdriver.Chrome, where it is installed

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # not available to root or, without an AppArmor profile, to users of Ubuntu
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
    "--hide-scrollbars",
)


def start_browser(profile: Path) -> Browser:
    """Opens a browser; skips the calling test if there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium with its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*_FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def resize(browser: Browser, width: int, height: int, phone: bool = False) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})


def prefer(browser: Browser, scheme: str) -> None:
    """Sets the colour scheme, "light" or "dark"."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def background(browser: Browser, selector: str) -> list[float]:
    """Returns the background colour of an element, or of the nearest ancestor with an opaque one."""
    script = """
    let element = document.querySelector(arguments[0]);
    while (!/^rgb\\(/.test(getComputedStyle(element).backgroundColor)) element = element.parentElement;
    return getComputedStyle(element).backgroundColor;
    """
    return colour(browser.execute_script(script, selector))


def colour(css: str) -> list[float]:
    return [float(number) / 255 for number in css.partition("(")[2].rstrip(")").split(",")[:3]]


def luminance(colour: list[float]) -> float:
    """Returns the relative luminance of a colour, as defined by the Web Content Accessibility Guidelines."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
