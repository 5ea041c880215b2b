"""Headless Chromium for tests of pages (Debian's `chromium` and `chromium-driver`)."""

import shutil
from contextlib import contextmanager

from selenium import webdriver

# A root user has no sandbox; the rest keeps Chromium from reaching for the network.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage"
)
DESKTOP, PHONE = (1280, 900), (390, 844)


@contextmanager
def open_chromium():
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium and chromedriver, "apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(chromedriver)
    with webdriver.Chrome(options=options, service=service) as driver:
        yield driver


def resize(driver, size):
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1}
    metrics["mobile"] = size == PHONE
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def click(page, element):
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()
