// The numbers of one weight or neuron: its value, its gradient, its update, and the formula with this step's numbers.

import { element, number, steady } from "./words.js";

export class Inspector {
  /** `drawing(run)` is the drawing of a run; `ask` asks the program; `closed()` is called when nothing is chosen. */
  constructor(host, { drawing, ask, closed }) {
    Object.assign(this, { host, drawing, ask, closed, place: null });
    host.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    this.hint();
  }

  hint() {
    this.host.replaceChildren(element("p", { className: "hint" }, "Choose a line or a neuron to see its numbers."));
  }

  open(run, place, { focus = false } = {}) {
    this.drawing(this.run ?? 0).selected = null;
    Object.assign(this, { run, place, next: undefined });
    this.drawing(run).selected = place;
    this.build();
    this.refresh();
    if (focus) this.host.querySelector("h2").focus();
    this.host.scrollIntoView({ block: "nearest" });
  }

  close() {
    if (!this.place) return;
    const { run, place } = this;
    this.drawing(run).selected = this.place = null;
    const held = this.host.contains(document.activeElement);
    this.hint();
    this.closed();
    if (held) this.drawing(run).focus(place);
  }

  /** The network is another: what was chosen may be gone. */
  structure() {
    if (this.place && !this.drawing(this.run)?.has(this.place)) this.close();
    else if (this.place) this.drawing(this.run).selected = this.place;
  }

  build() {
    const drawing = this.drawing(this.run);
    const { c, i, j } = this.place;
    const weight = this.place.kind === "weight";
    const title = weight ? drawing.weightName(c, i, j) : drawing.unitName(c, j);
    const name = drawing.traceName(this.place);
    const heading = element("h2", { tabIndex: -1 }, weight ? `Weight ${title}` : title, element("small", {}, name));
    const close = element("button", { type: "button", className: "quiet" }, "Close");
    close.addEventListener("click", () => this.close());
    this.figures = element("dl", { className: "figures" });
    this.incoming = element("ul", { className: "incoming" });
    this.texts = element("div", { className: "texts", tabIndex: -1 });
    this.when = element("span");
    const page = element(
      "a",
      { href: `trace/${this.run}`, target: "_blank", rel: "noopener" },
      "The whole step as a page",
    );
    const more = element("p", { className: "caption more" }, this.when, " ", page);
    this.box = element(
      "div",
      { className: "box" },
      element("header", {}, heading, close),
      this.figures,
      this.incoming,
      this.texts,
      more,
    );
    this.host.replaceChildren(this.box);
    this.incoming.hidden = weight;
    if (!weight) this.list();
    this.numbers();
  }

  /** The weights that lead to a neuron, or away from an input, each a button: so all can be reached by the keyboard. */
  list() {
    const drawing = this.drawing(this.run);
    const places = drawing.linesOf(this.place);
    this.lines = places.map((place) => {
      const value = element("span");
      const side = this.place.c === 0 ? drawing.shortName(place.c, place.j) : drawing.shortName(place.c - 1, place.i);
      const button = element(
        "button",
        { type: "button" },
        element("span", {}, this.place.c === 0 ? `to ${side}` : side),
        value,
      );
      button.addEventListener("click", () => this.open(this.run, place, { focus: true }));
      return { place, value, button };
    });
    this.incoming.replaceChildren(...this.lines.map((line) => element("li", {}, line.button)));
    this.incoming.setAttribute("aria-label", this.place.c === 0 ? "Weights from here" : "Weights to here");
  }

  /** What the frames bring, at once. */
  numbers() {
    if (!this.place) return;
    const drawing = this.drawing(this.run);
    if (this.place.kind === "unit") {
      for (const { place, value } of this.lines) signed(value, drawing.value(place, "weights"));
      const { bias } = drawing.unitNumbers(this.place);
      this.show(bias === undefined ? [] : [["bias", bias, steady]]);
    } else {
      this.show([
        ["weight", drawing.value(this.place, "weights"), steady],
        ["gradient", drawing.value(this.place, "gradients"), number],
        ["next update", this.next, number],
      ]);
    }
  }

  show(figures) {
    const made = figures
      .filter(([, value]) => value !== undefined)
      .map(([name, value, written]) => {
        const dd = element("dd");
        signed(dd, value, written);
        return element("div", {}, element("dt", {}, name), dd);
      });
    this.figures.replaceChildren(...made);
  }

  /** Training goes on: what is written here is of an earlier step. */
  stale() {
    if (!this.place || this.box.classList.contains("stale")) return;
    this.box.classList.add("stale");
    this.when.textContent = "Training goes on; pause to see the numbers of that step.";
  }

  /** The formulas of the step at hand. */
  async refresh() {
    if (!this.place) return;
    const [{ run, place }, drawing] = [this, this.drawing(this.run)];
    const names = drawing.traceNames(place);
    let answers;
    try {
      answers = await Promise.all(names.map((name) => this.ask({ do: "explain", run, name })));
    } catch {
      return; // it has been said
    }
    if (this.place !== place || this.run !== run) return;
    this.next = place.kind === "weight" ? answers[0].update : undefined;
    this.box.classList.remove("stale");
    this.when.textContent = drawing.stepName();
    this.texts.replaceChildren(...answers.flatMap(({ text }) => told(text)));
    this.numbers();
  }
}

/** A worked example as it reads: the sum at first, each row to open, the update. */
function told(text) {
  let rows = 0;
  const made = [];
  for (const block of text.trim().split(/\n\s*\n/)) {
    const [first, ...rest] = block.split("\n");
    if (first.startsWith("and so on")) continue; // the whole step has a page
    if (first.startsWith("row ") && rest.length) {
      made.push(
        element(
          "details",
          { open: !rows++ },
          element("summary", {}, first[0].toUpperCase() + first.slice(1)),
          formula(rest),
        ),
      );
    } else {
      made.push(
        formula(
          first.startsWith("update") ? unwrapped([first, ...rest]) : [first, ...rest],
          made.length ? "" : "first",
        ),
      );
    }
  }
  return made;
}

/** Lines with their indentation, and what does not fit hanging below. */
function formula(lines, more = "") {
  const least = Math.min(...lines.map((line) => line.search(/\S/)));
  const made = lines.map((line) => {
    const span = element("span", {}, line.trim());
    span.style.paddingLeft = `${line.search(/\S/) - least + 2}ch`;
    return span;
  });
  return element("p", { className: `formula ${more}` }, ...made);
}

/** Prose that was broken into lines, in one line again. */
function unwrapped(lines) {
  const made = [];
  lines.forEach((line, k) => {
    const goes = k > 1 && lines[k - 1].length > 84 && !/^  [\w' .[\],]+(:| =) /.test(line);
    if (goes) made.push(`${made.pop()} ${line.trim()}`);
    else made.push(line);
  });
  return made;
}

/** A number in the colour of its sign. */
function signed(host, value, written = steady) {
  host.textContent = written(value);
  host.className = value > 0 ? "high" : value < 0 ? "low" : "";
}
