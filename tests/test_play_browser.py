"""The playground in a real browser: Chromium, driven by Playwright, on the page that the command serves.

With ``BACKPROP_BROWSER=required`` in the environment these tests fail where there is no browser, and are not skipped.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backprop as bp
from backprop import datasets

pytestmark = pytest.mark.slow

WIDE, NARROW = (1280, 800), (390, 844)
#: Seconds until something is not going to happen.
PATIENCE = 90
#: Roles of what one can use by keyboard, mouse or finger.
ROLES = {"button", "checkbox", "combobox", "link", "radio", "slider", "spinbutton", "textbox", "DisclosureTriangle"}


def missing(what: str) -> Any:
    """Skip, or fail where a browser must be there."""
    if os.environ.get("BACKPROP_BROWSER") == "required":
        pytest.fail(f"{what}, and BACKPROP_BROWSER says that it is required")
    pytest.skip(what)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        missing("there is no Chromium on the PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright is not installed")
    root = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=root)
        yield browser
        browser.close()


@contextmanager
def served(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The playground in a process of its own."""
    command = [sys.executable, "-m", "backprop", "play", "--no-browser", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout:
                if line.startswith("http"):
                    yield line.strip(), process
                    break
            else:
                pytest.fail("the command printed no address")
        finally:
            process.terminate()


@pytest.fixture
def address() -> Iterator[str]:
    with served() as (found, _):
        yield found


class Page:
    """A page, what it said and asked for, and what is done on it again and again."""

    def __init__(self, browser: Any, address: str, size: tuple[int, int] = WIDE, **given: Any) -> None:
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **given)
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.locator("#run0 .unit").first.wait_for()

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def score(self, name: str, run: int = 0) -> float:
        text = self.page.locator("#score div", has_text=name).locator("dd").nth(run).inner_text()
        return float(text.replace("\N{MINUS SIGN}", "-").replace(",", "").rstrip("\xa0%"))

    def until(self, condition: str, argument: Any = None) -> None:
        """Asked again and again from here: the page's own policy forbids the evaluation of strings in it."""
        end = time.monotonic() + PATIENCE
        while not self.page.evaluate(condition, argument):
            assert time.monotonic() < end, f"never: {condition}; {self.text('body')[:2000]}"
            self.page.wait_for_timeout(20)

    def label(self, name: str) -> Any:
        return self.page.get_by_label(name, exact=True).first

    def train(self, until: float) -> None:
        self.page.locator("#play").click()
        small = (
            "loss => parseFloat(document.querySelectorAll('#score dd')[1].textContent.replace('\u2212', '-')) < loss"
        )
        self.until(small, until)
        self.page.locator("#play").click()
        self.until("!document.body.classList.contains('playing')")

    def line(self, i: int, j: int) -> tuple[float, float]:
        """The middle of a weight's line, of the first layer."""
        units = self.page.locator("#run0 .unit")
        n = self.page.locator("#run0 .unit[aria-label^=Input]").count()
        a, b = (units.nth(at).bounding_box() for at in (i, n + j))
        return (a["x"] + a["width"] + b["x"]) / 2, (a["y"] + b["y"] + b["height"] / 2 + a["height"] / 2) / 2

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Page]:
    made = Page(chromium, address)
    yield made
    assert made.errors == []
    made.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_learns_xor(chromium: Any, address: str, size: tuple[int, int], scheme: str) -> None:
    page = Page(chromium, address, size, color_scheme=scheme)
    assert page.score("Loss") > 0.5
    page.train(until=0.01)
    assert page.score("Accuracy") == 100
    assert "step" in page.text("#live") or "loss" in page.page.locator("#live").text_content()
    widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, document.body.scrollWidth]"
    scroll, client, body = page.page.evaluate(widths)
    assert scroll == body == client == size[0]
    background = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) > 380) == (scheme == "light")
    assert page.errors == []
    assert {url.split("/")[2] for url in page.requests} == {address.split("/")[2]}
    page.close()


def test_the_decision_surface_is_drawn(page: Page) -> None:
    def colors() -> list[list[int]]:
        """Of the corners, x from left to right, y from the top."""
        code = """() => { const canvas = document.querySelector('#right .plane canvas'), at = [0.1, 0.9], found = [];
            for (const y of at) for (const x of at) found.push([...canvas.getContext('2d')
                .getImageData(x * canvas.width, y * canvas.height, 1, 1).data]); return found; }"""
        page.page.wait_for_timeout(200)
        return page.page.evaluate(code)

    page.train(until=0.01)
    top, bottom = colors()[:2], colors()[2:]
    orange = [red > blue for red, _, blue, _ in [*top, *bottom]]
    assert orange == [True, False, False, True]  # exclusive or: (0, 1) and (1, 0)


def test_a_weight_opens_its_formula_with_the_numbers_of_this_step(page: Page) -> None:
    x, y = page.line(0, 0)
    page.page.mouse.move(x, y)
    assert "weight" in page.text("#tip") and "gradient" in page.text("#tip")
    page.page.mouse.click(x, y)
    page.page.locator("#inspector .formula").first.wait_for()
    assert "0.weight[0,0]" in page.text("#inspector h2")
    net = bp.Sequential([bp.Dense(2, 4, "tanh"), bp.Dense(4, 2, "tanh"), bp.Dense(2, 1, "sigmoid")], rng=0)
    rows, targets = datasets.xor()
    gradient = net.value_and_gradient(rows, targets.astype(np.float32), "binary_cross_entropy")[1][0]
    said = re.match(r"dE/d 0\.weight\[0,0\] = (\S+)\n", page.text("#inspector .formula"))
    assert said and float(said[1]) == pytest.approx(gradient, rel=1e-4)
    assert f"{net.parameters[0]:.4f}" == page.text("#inspector dd")
    formula = page.text("#inspector .texts")
    page.page.locator("#update").click()
    page.until("before => document.querySelector('#inspector .texts').innerText !== before", formula)
    assert "step 2" in page.text("#inspector .more")
    page.label("Optimizer").select_option(label="SGD")
    page.until("document.querySelector('#inspector .texts').innerText.includes('update: SGD')")


def test_the_whole_step_is_a_page(page: Page) -> None:
    page.page.locator("#run0 .unit").nth(2).click()
    page.page.locator("#inspector .formula").first.wait_for()
    with page.context.expect_page() as opened:
        page.page.get_by_role("link", name="The whole step as a page").click()
    trace = opened.value
    trace.locator("g[data-at]").first.click()
    assert "0.weight[0,0]" in trace.locator("#formula").inner_text()


def test_forward_backward_update(page: Page) -> None:
    def pressed() -> list[str | None]:
        return [page.page.locator(f"#{name}").get_attribute("aria-pressed") for name in ("forward", "backward")]

    before = page.score("Loss")
    assert pressed() == ["false", "false"]
    page.page.locator("#forward").click()
    page.until("document.querySelector('#forward').classList.contains('now')")
    assert pressed() == ["true", "false"]
    page.page.locator("#backward").click()
    page.until("document.querySelector('#backward').classList.contains('now')")
    assert pressed() == ["true", "true"]
    assert page.page.get_by_role("radio", name="Gradients").is_checked()
    assert page.score("Loss") == before and page.score("Epoch") == 0
    page.page.locator("#update").click()
    page.until("document.querySelector('#score dd').textContent === '1'")
    assert pressed() == ["false", "false"]
    assert page.page.get_by_role("radio", name="Updates").is_checked()
    assert page.score("Loss") < before


def test_what_is_chosen_is_trained(page: Page) -> None:
    page.label("Optimizer").select_option(label="SGD")
    page.until("document.querySelector('details summary').textContent === 'More of SGD'")
    assert page.label("Learning rate").evaluate("box => box.selectedOptions[0].text") == "0.1"
    page.label("More neurons of layer 1").click()
    page.until("document.querySelectorAll('#run0 .unit').length === 2 + 5 + 2 + 1")
    page.label("More hidden layers").click()
    page.until("document.querySelectorAll('#run0 .layers select').length === 3")
    page.label("Activation of layer 3").select_option(label="relu")
    page.until("[...document.querySelectorAll('#run0 .unit')].some(unit => unit.ariaLabel.endsWith('layer 3, relu'))")
    page.label("Loss").select_option(label="mse")
    page.page.locator("#export").click()
    page.page.locator("#code[open]").wait_for()
    code = page.text("#code-text")
    for part in ("SGD(0.1", "Dense(2, 5", '"relu"', '"mse"'):
        assert part in code
    page.page.locator("#code-close").click()
    for name in ("circles", "curve", "xor"):
        page.page.get_by_role("radio", name=name, exact=True).check(force=True)
        page.until(f"document.querySelector('#right canvas[role=img]').ariaLabel.startsWith('{name}')")
    for _ in range(3):
        page.label("Fewer hidden layers").click()
        page.page.wait_for_timeout(300)
    assert page.page.locator("#run0 .unit").count() == 3


def test_the_columns_of_a_table_keep_their_letters(chromium: Any, tmp_path: Path) -> None:
    names = [f"a_measurement_that_has_a_name={i}" for i in range(12)]
    rows = np.random.default_rng(0).normal(size=(50, 13)).round(2)
    np.savetxt(tmp_path / "long.csv", rows, "%g", ",", header=",".join([*names, "price"]), comments="")
    with served(str(tmp_path / "long.csv"), "--target", "price") as (address, _):
        page = Page(chromium, address)
        squeezed = page.page.evaluate("""() => new Promise(done => {
            const found = [], write = CanvasRenderingContext2D.prototype.fillText;
            CanvasRenderingContext2D.prototype.fillText = function(text, x, y, most) {
                if (text.includes('=')) found.push([text, 0.75 * this.measureText(text).width <= most]);
                return write.call(this, text, x, y, most);
            };
            document.querySelector('#forward').click();
            setTimeout(() => done(found), 500); })""")
        assert {text[-3:] for text, _ in squeezed} == {name[-3:] for name in names}
        assert all(fits for _, fits in squeezed)
        assert "price in standard deviations" in page.text("#right .out")
        assert page.errors == []
        page.close()


def test_two_networks_side_by_side(page: Page) -> None:
    page.page.get_by_role("radio", name="moons", exact=True).check(force=True)
    page.page.locator("#compare").check(force=True)
    page.until("document.querySelector('#run1 .which').textContent.startsWith('B SGD')")
    assert page.page.locator("#run1").is_visible()
    page.page.locator("#step").click()
    page.until("document.querySelectorAll('#score dd').length === 8")
    page.page.locator("#play").click()
    page.page.wait_for_timeout(500)
    page.page.locator("#play").click()
    page.until("!document.body.classList.contains('playing')")
    assert page.score("Loss") != page.score("Loss", run=1)
    page.page.locator("#compare").uncheck(force=True)
    page.until("document.querySelector('#run1').hidden")


def test_the_python_is_copied_and_the_model_saved(page: Page, tmp_path: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.train(until=0.1)
    page.page.locator("#export").click()
    page.page.locator("#code[open]").wait_for()
    page.page.locator("#copy").click()
    page.until("document.querySelector('#copied').textContent !== ''")
    code = page.page.evaluate("navigator.clipboard.readText()")
    with page.page.expect_download() as download:
        page.page.get_by_role("link", name="Save as safetensors").click()
    download.value.save_as(tmp_path / "model.safetensors")
    made: dict[str, Any] = {}
    exec(compile(code, "the Python of what you see", "exec"), made)
    np.testing.assert_array_equal(made["net"].parameters, bp.load(tmp_path / "model.safetensors").parameters)


def test_all_can_be_reached_and_has_a_name(page: Page) -> None:
    tree = page.context.new_cdp_session(page.page).send("Accessibility.getFullAXTree")["nodes"]
    used = [node for node in tree if not node["ignored"] and node["role"]["value"] in ROLES]
    assert len(used) > 30
    assert [node["role"]["value"] for node in used if not node.get("name", {}).get("value")] == []
    # Tab goes through all of it: of radio buttons, and of the neurons, one, since arrows go on from there.
    wanted = page.page.evaluate("""() => {
        const all = [...document.querySelectorAll('button, a[href], input, select, summary')];
        window.wanted = all.filter(one => one.checkVisibility() && one.tabIndex >= 0 && !one.disabled
            && (one.type !== 'radio' || one.checked));
        return window.wanted.length; }""")
    reached = set()
    page.page.evaluate("document.activeElement.blur()")
    for _ in range(wanted + 10):
        page.page.keyboard.press("Tab")
        reached.add(page.page.evaluate("window.wanted.indexOf(document.activeElement)"))
    assert reached - {-1} == set(range(wanted))


def test_by_keyboard_alone(page: Page) -> None:
    keyboard = page.page.keyboard
    page.page.locator("#run0 .unit").first.focus()
    keyboard.press("ArrowRight")
    keyboard.press("ArrowDown")
    focused = "document.activeElement.ariaLabel"
    assert page.page.evaluate(focused) == "Neuron 2 of layer 1, tanh"
    keyboard.press("Enter")
    page.page.locator("#inspector .formula").first.wait_for()
    assert "0.output[0,1]" in page.text("#inspector h2")
    page.page.locator("#inspector .incoming button").first.focus()
    keyboard.press("Enter")
    page.until("document.querySelector('#inspector h2').textContent.includes('0.weight[0,1]')")
    keyboard.press("Escape")
    assert page.page.locator("#inspector .box").count() == 0
    assert page.page.evaluate(focused) == "Neuron 2 of layer 1, tanh"
    page.page.evaluate("document.activeElement.blur()")
    keyboard.press("f")
    page.until("document.querySelector('#forward').classList.contains('now')")
    keyboard.press("ArrowRight")
    page.until("document.querySelector('#score dd').textContent === '1'")
    keyboard.press("Space")
    page.until("document.body.classList.contains('playing')")
    keyboard.press("Space")
    page.until("!document.body.classList.contains('playing')")


def test_what_the_program_refuses_is_a_sentence(page: Page) -> None:
    seed = page.page.locator("#training input[type=number]").last
    seed.fill("-1")
    seed.press("Enter")
    page.page.locator("#notice").wait_for()
    assert re.match(r"Seed: expected .*, got -1$", page.text("#notice"))
    page.errors.clear()  # Chromium logs the status, 400
    seed.fill("7")
    seed.press("Enter")
    page.page.locator("#notice").wait_for(state="hidden")


def test_frames_are_drawn_as_they_come(page: Page) -> None:
    page.page.get_by_role("radio", name="circles", exact=True).check(force=True)
    page.page.locator("#play").click()
    page.until("/[kM] steps a second/.test(document.querySelector('.chart .caption').textContent)")  # not slow any more
    came, drawn = page.page.evaluate("""() => new Promise(done => {
        let [came, drawn] = [0, 0];
        const draw = CanvasRenderingContext2D.prototype.clearRect, chart = document.querySelector('.chart canvas');
        CanvasRenderingContext2D.prototype.clearRect = function(...given) {
            if (this.canvas === chart) drawn += 1;
            return draw.apply(this, given);
        };
        const frames = new EventSource('frames');
        frames.addEventListener('frame', () => (came += 1));
        setTimeout(() => { frames.close(); done([came, drawn]); }, 2000); })""")
    page.page.locator("#play").click()
    page.until("!document.body.classList.contains('playing')")
    assert came >= 4 and drawn >= 0.6 * came  # how many come a second depends on what else the machine does


def test_nothing_moves_by_itself_where_that_is_not_wanted(chromium: Any, address: str) -> None:
    page = Page(chromium, address, reduced_motion="reduce")
    page.page.locator("#forward").click()
    page.until("document.querySelector('#forward').classList.contains('now')")
    asked = page.page.evaluate("""() => new Promise(done => {
        let count = 0;
        const ask = window.requestAnimationFrame;
        window.requestAnimationFrame = (draw) => (count += 1, ask(draw));
        setTimeout(() => done(count), 400); })""")
    assert asked <= 2
    assert page.errors == []
    page.close()


def test_a_lost_connection_is_said(chromium: Any) -> None:
    with served() as (address, process):
        page = Page(chromium, address)
        process.terminate()
        process.wait()
        page.page.locator("#notice").wait_for()
        assert "connection" in page.text("#notice")
        page.close()
