"""Look at the site: python tools/screenshots.py out/docs FOLDER [PAGE ...].

Each page in two widths, light and dark, by Playwright and a Chromium that is there; what reaches beyond the width of a
page, where it should scroll by itself, is named.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PAGES = [
    "index", "quickstart", "guide/choosing", "guide/troubleshooting", "command_line", "examples", "tables/intervals",
    "api/networks",
]  # fmt: skip
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
BEYOND = """() => {
    const width = document.documentElement.clientWidth;
    const scrolls = e => e && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
    return [...document.querySelectorAll("main *, article *")]
        .filter(e => e.getBoundingClientRect().right > width + 1 && !scrolls(e))
        .map(e => e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 50));
}"""


def main(site: str, folder: str, *pages: str) -> int:
    Path(folder).mkdir(parents=True, exist_ok=True)
    faults = 0
    with sync_playwright() as playwright:
        system = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        for scheme in SCHEMES:
            for width in WIDTHS:
                view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                view.set_default_timeout(300_000)
                for page in pages or PAGES:
                    view.goto(Path(site, f"{page}.html").resolve().as_uri())
                    view.screenshot(path=Path(folder, f"{page.replace('/', '-')}-{width}-{scheme}.png"), full_page=True)
                    for fault in view.evaluate(BEYOND) if scheme == "light" else ():
                        print(f"{page}, {width} px: {fault}")
                        faults += 1
                view.close()
        browser.close()
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
