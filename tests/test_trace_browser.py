"""The page of a trace in a real browser: a unit and a weight open their formulas, on wide and on narrow screens."""

import numpy as np
import pytest
from test_play_browser import NARROW, WIDE, chromium  # noqa: F401 - a fixture

import backprop as bp

pytestmark = pytest.mark.slow


@pytest.fixture
def trace():
    layers = [bp.Dense(4, 3), bp.BatchNorm(), bp.Dense(3, 3, "relu"), bp.LayerNorm(), bp.Dense(3, 2, "softmax")]
    net = bp.Sequential(layers, rng=0, dtype="float64")
    x = np.random.default_rng(0).normal(size=(3, 4))
    return net.trace(x, [0, 1, 1], "cross_entropy", optimizer="adam")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_unit_and_a_weight_open_their_formulas(trace, size, scheme, chromium, tmp_path):  # noqa: F811
    trace.to_html(tmp_path / "trace.html")
    page = chromium.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "trace.html").as_uri())
    formula = page.locator("#formula")
    page.locator("g[aria-label^='2.output[0,1]']").click()
    assert formula.locator("div").all_inner_texts()[: len(trace.explain("2.output[0,1]").splitlines())] == [
        line.rstrip() or " " for line in trace.explain("2.output[0,1]").splitlines()
    ]
    for name in "0.weight[3,1]", "4.weight[0,1]":
        line = page.locator(f"g[aria-label^='{name} =']")
        line.focus()  # as Tab does
        assert formula.inner_text().startswith(trace.explain(name).splitlines()[0])
        page.locator("g[aria-label^='input[0,0]']").click()
        line.locator("path.near").dispatch_event("click")
        assert formula.inner_text().startswith(trace.explain(name).splitlines()[0])
        assert page.locator("g.chosen").get_attribute("aria-label").startswith(name)
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert said == [] and len(asked) == 1
    page.close()
