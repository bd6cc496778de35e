"""A trace as a page: a drawing of the network in which units and weights open their formulas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from .._display import BLUE, ORANGE
from ..layers import INPUT
from . import chain, formulas
from .record import Step

if TYPE_CHECKING:
    from .trace import Trace

__all__ = ["fragment", "page"]

#: Of a wider layer, the first and the last units are drawn.
MOST_UNITS, ENDS = 10, 4
#: Between columns and between units, in pixels; the radius of a unit.
ACROSS, DOWN, RADIUS = 170, 58, 24
#: Letters of a number within a unit.
WIDEST = 6
#: How narrow a column may become, in pixels, before the drawing is moved to and fro instead.
NARROW = 80


class Shape(NamedTuple):
    """What is drawn, what it is called, and which formula it opens."""

    svg: str
    name: str
    text: str


def fragment(trace: Trace) -> str:
    """The drawing, with formulas as tooltips, and the worked example, for a notebook."""
    return f"<div>{_drawing(trace, _shapes(trace), opens=False)}{_sections(trace)}</div>"


def page(trace: Trace) -> str:
    """A page that needs no other file, and no network."""
    shapes = _shapes(trace)
    texts = json.dumps([shape.text for shape in shapes]).replace("<", "\\u003c")
    title = escape(f"{trace!r}"[1:-1])
    drawing, first = _drawing(trace, shapes, opens=True), escape(shapes[-1].text)
    rows = " The numbers in the drawing are those of the first row." if len(trace.data) > 1 else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n'
        f"<p>Click a unit or a weight, or go there with Tab: its formula, with the numbers of this step.{rows} "
        f"Weights above 0 are orange, those below 0 are blue.</p>\n"
        f'<main><div id="drawing">{drawing}</div>\n<pre id="formula" aria-live="polite">{first}</pre></main>\n'
        f"{_sections(trace)}\n<script>const texts = {texts};\n{_SCRIPT}</script></body></html>\n"
    )


def _sections(trace: Trace) -> str:
    """The worked example, a part of it under each heading."""
    found, title = [], "Input"
    lines: list[str] = []
    for line in [*str(trace).splitlines(), ""]:
        if line in ("Forward", "Loss", "Backward", "Update"):
            found.append((title, lines))
            title, lines = line, []
        else:
            lines.append(line)
    found.append((title, lines))
    texts = ((name, escape("\n".join(some).strip("\n"))) for name, some in found)
    return "".join(
        f'<details><summary>{name}</summary><pre style="{_PRE}">{text}</pre></details>' for name, text in texts
    )


def _units(n: int) -> list[int]:
    return [*range(n)] if n <= MOST_UNITS else [*range(ENDS), *range(n - ENDS, n)]


def _places(trace: Trace) -> dict[str, dict[int, tuple[float, float]]]:
    """Where the units of each column are, by the name of the operation."""
    columns = {INPUT: trace.graph.n_in, **{name: step.operation.n_out for name, step in trace.steps.items()}}
    highest = max(len(_units(n)) + (n > MOST_UNITS) for n in columns.values())
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for c, (name, n) in enumerate(columns.items()):
        units, gap = _units(n), n > MOST_UNITS
        top = 50 + (highest - len(units) - gap) * DOWN / 2
        found[name] = {unit: (60 + c * ACROSS, top + DOWN * (k + (gap and k >= ENDS))) for k, unit in enumerate(units)}
    return found


def _shapes(trace: Trace) -> list[Shape]:
    """All that is drawn: lines first, then units over them."""
    places = _places(trace)
    edges = [shape for step in trace.steps.values() for shape in _edges(trace, step, places)]
    return [*edges, *(shape for name in places for shape in _nodes(trace, name, places[name]))]


def _nodes(trace: Trace, name: str, places: dict[int, tuple[float, float]]) -> Iterator[Shape]:
    values = trace.data.x if name == INPUT else trace.steps[name].output
    for unit, (x, y) in places.items():
        shown = formulas.number(values[0, unit])
        if name == INPUT:
            called, text = formulas.at(INPUT, 0, unit), chain.explained(trace, formulas.at("dx", 0, unit))
            named = "" if trace.feature_names is None else f", {trace.feature_names[unit]}"
            text = f"{called} = {shown}{named}\n{text}"
        else:
            called = formulas.at(f"{name}.output", 0, unit)
            back = formulas.at(f"{name}.delta", 0, unit)
            text = f"{chain.explained(trace, called)}\n\n{chain.explained(trace, back)}"
        inside = _within(float(values[0, unit]))
        svg = f'<circle cx="{x}" cy="{y}" r="{RADIUS}"/><text x="{x}" y="{y + 4}">{inside}</text>'
        yield Shape(svg, text.partition("\n")[0] if name == INPUT else f"{called} = {shown}", text)


def _within(value: float) -> str:
    """A number that fits into a unit."""
    text = f"{value:.3g}"
    return text if len(text) <= WIDEST else f"{value:.2g}" if len(f"{value:.2g}") <= WIDEST else f"{value:.0e}"


def _edges(trace: Trace, step: Step, places: dict[str, dict[int, tuple[float, float]]]) -> Iterator[Shape]:
    """The lines from what an operation takes to its units: the weights of a dense layer, else what goes on."""
    given, before = step.operation, 0
    weight = trace.parameters.get(f"{step.name}.weight") if given.kind == "dense" else None
    largest = 1.0 if weight is None else float(abs(weight).max()) or 1.0
    for source in given.inputs:
        for i, start in places[source].items():
            for j, end in places[step.name].items():
                if weight is not None:
                    name, value = formulas.at(f"{step.name}.weight", i, j), float(weight[i, j])
                    style = (
                        f'class="{"negative" if value < 0 else "positive"}" stroke-width="{_width(value / largest)}"'
                    )
                    text = chain.explained(trace, name)
                    yield Shape(_line(start, end, style), f"{name} = {formulas.number(value)}", text)
                elif j == before + i or given.kind in ("python", "embedding", "columns", "layer_norm"):
                    text = f"{step.name}, {given.kind}: {formulas.operation(given, step.fixed)}"
                    yield Shape(_line(start, end, 'class="other"'), text, text)
        if given.kind == "concatenate":
            before += trace.graph.n_in if source == INPUT else trace.steps[source].operation.n_out


def _width(share: float) -> str:
    return f"{0.8 + 4 * abs(share):.1f}"


def _line(start: tuple[float, float], end: tuple[float, float], style: str) -> str:
    """Straight to the next column; what goes further, around those between."""
    (x, y), (u, v) = start, end
    bend = 0 if u - x <= ACROSS else -1.2 * DOWN
    path = f'd="M{x} {y}Q{(x + u) / 2} {(y + v) / 2 + bend} {u} {v}"/>'
    return f'<path class="near" {path}<path {style} {path}'


def _drawing(trace: Trace, shapes: list[Shape], *, opens: bool) -> str:
    """The network as SVG; what it draws opens formulas, or has their first lines as tooltips."""
    places = _places(trace)
    width = 120 + ACROSS * (len(places) - 1)
    height = max(y for column in places.values() for _, y in column.values()) + 60
    heads = "".join(
        f'<text class="head" x="{min(column.values())[0]}" y="16">{escape(_head(trace, name))}</text>'
        for name, column in places.items()
    )
    gaps = "".join(
        f'<text x="{column[ENDS - 1][0]}" y="{column[ENDS - 1][1] + DOWN + 6}">&#8942;</text>'
        for column in places.values()
        if len(column) == 2 * ENDS and max(column) >= MOST_UNITS
    )
    drawn = "".join(_group(k, shape, opens) for k, shape in enumerate(shapes))
    style = f"<style>{_SVG_STYLE}</style>"
    narrowest = min(width, NARROW * len(places))
    return (
        f'<svg class="backprop-trace" viewBox="0 -10 {width} {height + 10:.0f}" width="{width}" '
        f'style="min-width:{narrowest}px" role="group" aria-label="the network">{style}{heads}{drawn}{gaps}</svg>'
    )


def _group(k: int, shape: Shape, opens: bool) -> str:
    name = escape(shape.name)
    if opens:
        head = f'<g tabindex="0" role="button" data-at="{k}" aria-label="{name}"><title>{name}</title>'
    else:
        head = f"<g><title>{name}\n{escape(shape.text.partition(chr(10) * 2)[0])}</title>"
    return f"{head}{shape.svg}</g>"


def _head(trace: Trace, name: str) -> str:
    if name == INPUT:
        return INPUT
    operation = trace.steps[name].operation
    function = operation.activation.name
    return f"{name} {operation.kind if function == 'identity' or operation.kind != 'dense' else function}"


#: Notebooks have another font for what is not their own, and break its lines.
_PRE = "font:13px/1.45 ui-monospace,monospace;white-space:pre;overflow-x:auto"
#: Orange above 0 and blue below, as in all pictures; text in the colour of the page. What is near a line belongs to it.
_SVG_STYLE = f"""
.backprop-trace{{max-width:100%;height:auto;font:12px system-ui,sans-serif}}
.backprop-trace text{{fill:currentColor;text-anchor:middle}}.backprop-trace .head{{font-weight:600}}
.backprop-trace path{{fill:none}}.backprop-trace .near{{stroke:#0000;stroke-width:9;pointer-events:stroke}}
.backprop-trace .positive{{stroke:{ORANGE}}}.backprop-trace .negative{{stroke:{BLUE}}}
.backprop-trace .other{{stroke:#8888;stroke-width:1}}
.backprop-trace circle{{fill:var(--jp-layout-color0,Canvas);stroke:currentColor}}
.backprop-trace [data-at]{{cursor:pointer;outline:none}}
.backprop-trace g:hover path+path,.backprop-trace g:focus path+path,.backprop-trace g.chosen path+path{{stroke-width:6}}
.backprop-trace g:hover circle,.backprop-trace g:focus circle,.backprop-trace g.chosen circle{{stroke-width:3}}
"""
_STYLE = """
:root{color-scheme:light dark}body{font:16px system-ui,sans-serif;margin:1.5rem auto;max-width:80rem;padding:0 1rem}
h1{font-size:1.2rem}main{display:grid;grid-template-columns:minmax(0,1fr);gap:1.5rem;align-items:start}
@media(min-width:60rem){main{grid-template-columns:repeat(2,minmax(0,1fr))}}
#drawing{overflow-x:auto}pre{font:13px/1.45 ui-monospace,monospace;margin:0}
#formula{position:sticky;top:1rem;max-height:calc(100vh - 4rem);overflow:auto;padding:1rem;border:1px solid #8886;
border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere}#formula div{padding-left:6ch;text-indent:-6ch}
details{margin:.6rem 0}summary{cursor:pointer;font-weight:600}
"""
_SCRIPT = """
const formula = document.getElementById("formula");
function write(text) {
  formula.replaceChildren(...text.split("\\n").map(line => {
    const element = document.createElement("div");
    element.textContent = line || " ";
    return element;
  }));
  formula.scrollTop = 0;
}
write(formula.textContent);
function show(event) {
  const group = event.target.closest("g[data-at]");
  if (!group) return;
  document.querySelectorAll("g.chosen").forEach(other => other.classList.remove("chosen"));
  group.classList.add("chosen");
  write(texts[group.dataset.at]);
}
for (const kind of ["click", "focusin"]) document.querySelector("svg").addEventListener(kind, show);
"""
