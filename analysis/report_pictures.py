"""Take the pictures of docs/report.md: the page of recorded results in Chromium, 1280 and 390 pixels wide, and dark.

python analysis/report_pictures.py
"""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from safeloop import api

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/report"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        safe = api.report([ROOT / "results/safe" / name for name in ("PointGoal1", "CarGoal1")], f"{folder}/safe.html")
        online = api.report(ROOT / "results/online", f"{folder}/online.html", "Tasks without a cost")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        tab = opened(browser, safe, 1280, 1390)
        save([tab.screenshot()], "desktop.png")
        tab.set_viewport_size({"width": 1280, "height": 1440})
        save([at(tab, "section h3:text-is('Figures')")], "figures.png")
        tab = opened(browser, safe, 390, 844)
        places = ("h1", ".estimates >> nth=1", ".legend >> nth=0")
        save([at(tab, place) for place in places], "phone.png")
        save([at(opened(browser, online, 1280, 620, "dark"), "section h3:text-is('Figures')")], "dark.png")
        browser.close()


def opened(browser, page: Path, width: int, height: int, scheme: str = "light"):
    """Return a tab with the page, all figures drawn."""
    tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce")
    tab.goto(page.as_uri())
    tab.wait_for_selector("body[data-figures=ready]")
    tab.wait_for_timeout(500)
    return tab


def at(tab, place: str) -> bytes:
    """Return the view with an element at its top."""
    tab.locator(place).first.evaluate("each => window.scrollTo(0, each.getBoundingClientRect().top + scrollY - 20)")
    tab.wait_for_timeout(500)
    return tab.screenshot()


def save(views: list[bytes], name: str) -> None:
    """Write views side by side."""
    pictures = [Image.open(io.BytesIO(view)).convert("RGB") for view in views]
    width, height = sum(each.width for each in pictures) + 20 * (len(pictures) - 1), pictures[0].height
    whole, x = Image.new("RGB", (width, height), "#888888"), 0
    for each in pictures:
        whole.paste(each, (x, 0))
        x += each.width + 20
    file = FOLDER / name
    whole.save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}: {whole.width} x {whole.height}, {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
