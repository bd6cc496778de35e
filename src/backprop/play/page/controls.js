// What can be chosen: the data at the left, the training of a run, the layers above its drawing.

import { thumbnail } from "./thumbs.js";
import { element, number, words } from "./words.js";

const RATES = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];
const DROPOUTS = [0, 0.1, 0.2, 0.3, 0.4, 0.5];
const PENALTIES = [0, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1];
const DICE =
  '<svg viewBox="0 0 24 24" aria-hidden="true"><rect x="4" y="4" width="16" height="16" rx="4"/>' +
  '<path d="M9 9h.01M15 15h.01M15 9h.01M9 15h.01"/></svg>';

let made = 0;

/** A label over its control; what a slider says stands beside the label. */
function field(label, control, more) {
  const id = `field${made++}`;
  control.id = id;
  const said = more?.matches("output") ? [more] : [];
  const inside = more && !said.length ? element("span", { className: "with" }, control, more) : control;
  return element("div", { className: "field" }, element("label", { htmlFor: id }, label, ...said), inside);
}

const wide = (host) => (host.classList.add("wide"), host);

/** A list to choose from; `put(options, value)` changes it without losing the place of the keyboard. */
function choice(changed, label) {
  const select = element("select");
  if (label) select.setAttribute("aria-label", label);
  let shown = "";
  select.addEventListener("change", () => changed(JSON.parse(select.value)));
  select.put = (options, value, name = words) => {
    const all = options.some((option) => option === value) ? options : [...options, value];
    if (typeof value === "number") all.sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
    const key = JSON.stringify(all);
    if (key !== shown) {
      select.replaceChildren(
        ...all.map((option) => element("option", { value: JSON.stringify(option) }, name(option))),
      );
      shown = key;
    }
    select.value = JSON.stringify(value);
  };
  return select;
}

/** A number to type; what is no number is not sent. */
function numeric(changed, given = {}) {
  const box = element("input", { type: "number", ...given });
  box.addEventListener(
    "change",
    () => box.value !== "" && Number.isFinite(box.valueAsNumber) && changed(box.valueAsNumber),
  );
  box.put = (value) => {
    if (document.activeElement !== box || box.valueAsNumber === value || box.value === "") box.value = value;
  };
  return box;
}

/** A seed: a number to type, or dice to throw. */
function seed(changed, what) {
  const box = numeric(changed, { min: 0, step: 1 });
  const dice = element("button", { type: "button", className: "dice", title: `Another ${what}` });
  dice.setAttribute("aria-label", `Another ${what}`);
  dice.innerHTML = DICE;
  dice.addEventListener("click", () => changed(Math.floor(Math.random() * 1000)));
  return [box, dice];
}

/** A slider that tells its value at once and asks when it rests. */
function slider(changed, shown) {
  const range = element("input", { type: "range" });
  const said = element("output");
  let waiting;
  range.addEventListener("input", () => {
    said.textContent = shown(range.valueAsNumber);
    clearTimeout(waiting);
    waiting = setTimeout(() => changed(range.valueAsNumber), 120);
  });
  range.put = (value, given) => {
    Object.assign(range, given);
    clearTimeout(waiting);
    range.value = value;
    said.textContent = shown(value);
  };
  return [range, said];
}

/** Data sets as small pictures, and what there is to set of them. */
export class DataControls {
  constructor(host, ask) {
    const changed = (part) => ask({ do: "data", data: part });
    this.changed = changed;
    this.sets = element("div", { className: "sets" });
    [this.noise, this.noiseSaid] = slider(
      (noise) => changed({ noise }),
      (value) => number(value, 2),
    );
    [this.points, this.pointsSaid] = slider(
      (points) => changed({ points }),
      (value) => String(value),
    );
    [this.seed, this.dice] = seed((value) => changed({ seed: value }), "draw of the data");
    this.made = element(
      "div",
      { className: "fields" },
      field("Noise", this.noise, this.noiseSaid),
      field("Points", this.points, this.pointsSaid),
      field("Seed", this.seed, this.dice),
    );
    const axis = (at) =>
      choice((column) => ask({ do: "axes", axes: this.plane.map((one, i) => (i === at ? column : one)) }));
    [this.across, this.up] = [axis(0), axis(1)];
    this.axes = element("div", { className: "fields" }, field("Across", this.across), field("Up", this.up));
    host.append(this.sets, this.made, this.axes);
  }

  update({ data, choices }) {
    const key = JSON.stringify(choices.data);
    if (this.key !== key) {
      this.key = key;
      this.sets.replaceChildren(...choices.data.map((name) => this.set(name)));
    }
    for (const radio of this.sets.querySelectorAll("input")) radio.checked = radio.value === data.name;
    this.made.hidden = data.points === undefined;
    if (!this.made.hidden) {
      const [least, most] = choices.points;
      this.noise.put(data.noise, { min: 0, max: choices.most_noise, step: 0.01 });
      this.points.put(data.points, { min: least, max: most, step: 4 });
      this.seed.put(data.seed);
    }
    this.plane = data.axes;
    this.axes.hidden = data.columns.length < 3;
    if (!this.axes.hidden) {
      const columns = data.columns.map((_, i) => i);
      const name = (i) => data.columns[i];
      this.across.put(
        columns.filter((i) => i !== this.plane[1]),
        this.plane[0],
        name,
      );
      this.up.put(
        columns.filter((i) => i !== this.plane[0]),
        this.plane[1],
        name,
      );
    }
  }

  set(name) {
    const radio = element("input", { type: "radio", name: "set", value: name });
    radio.addEventListener("change", () => this.changed({ name }));
    const canvas = element("canvas", { "aria-hidden": "true" });
    requestAnimationFrame(() => thumbnail(canvas, name));
    return element("label", { title: name }, radio, canvas, element("span", {}, words(name).replace(/\.csv$/i, "")));
  }

  repaint() {
    for (const radio of this.sets.querySelectorAll("input")) thumbnail(radio.nextElementSibling, radio.value);
  }
}

/** How a run is trained; with two runs, tabs say whose settings these are. */
export class TrainingControls {
  constructor(host, { ask, edited }) {
    this.run = 0;
    this.ask = (settings) => ask({ do: "settings", run: this.run, settings });
    this.edited = edited;
    this.tabs = element("div", { className: "tabs", role: "radiogroup", hidden: true });
    this.tabs.setAttribute("aria-label", "Which network");
    this.optimizer = choice((name) => this.ask({ optimizer: { name } }));
    this.rate = choice((rate) => this.ask({ optimizer: { ...this.settings.optimizer, learning_rate: rate } }));
    this.schedule = choice((name) => this.ask({ schedule: name }));
    this.batch = choice((size) => this.ask({ batch_size: size }));
    this.loss = choice((loss) => this.ask({ loss }));
    this.output = choice((output) => this.ask({ output }));
    this.dropout = choice((dropout) => this.ask({ dropout }));
    this.l2 = choice((l2) => this.ask({ l2 }));
    [this.seed, this.dice] = seed((value) => this.ask({ seed: value }), "start");
    this.more = element("details", {}, element("summary"), element("div", { className: "fields more" }));
    this.scheduleMore = element("div", { className: "fields field wide" });
    const fields = element(
      "div",
      { className: "fields" },
      field("Optimizer", this.optimizer),
      field("Learning rate", this.rate),
      this.more,
      field("Schedule", this.schedule),
      field("Batch size", this.batch),
      this.scheduleMore,
      wide(field("Loss", this.loss)),
      wide(field("Output", this.output)),
      field("Dropout", this.dropout),
      field("L2", this.l2),
      field("Seed", this.seed, this.dice),
    );
    host.append(this.tabs, fields);
  }

  update({ choices, runs, data }) {
    if (this.run >= runs.length) this.run = 0;
    this.settings = runs[this.run].settings;
    const { settings } = this;
    this.showTabs(runs);
    const losses = choices.losses[data.goal];
    this.optimizer.put(Object.keys(choices.optimizers), settings.optimizer.name, String);
    this.rate.put(RATES, settings.optimizer.learning_rate, (rate) => number(rate));
    this.schedule.put(
      [null, ...Object.keys(choices.schedules)],
      settings.schedule?.name ?? null,
      (name) => name ?? "constant",
    );
    this.batch.put(
      [...choices.batch_sizes.filter((size) => size < data.rows[0]), null],
      settings.batch_size,
      (size) => size ?? "all rows",
    );
    this.batch.disabled = runs[this.run].full_batch;
    this.loss.put(Object.keys(losses), settings.loss);
    this.output.put(losses[settings.loss] ?? [settings.output], settings.output);
    this.output.closest(".field").hidden = (losses[settings.loss] ?? []).length < 2;
    this.dropout.put(DROPOUTS, settings.dropout, (share) => (share ? number(share) : "none"));
    this.l2.put(PENALTIES, settings.l2, (size) => (size ? number(size) : "none"));
    this.seed.put(settings.seed);
    this.arguments(this.more.lastChild, settings.optimizer, "optimizer");
    this.more.firstChild.textContent = `More of ${settings.optimizer.name}`;
    this.more.hidden = !this.more.lastChild.children.length;
    this.arguments(this.scheduleMore, settings.schedule, "schedule");
    this.scheduleMore.hidden = !this.scheduleMore.children.length;
  }

  showTabs(runs) {
    this.tabs.hidden = runs.length < 2;
    const key = JSON.stringify(runs.map((run) => run.settings.optimizer.name));
    if (key !== this.key) {
      const held = this.tabs.contains(document.activeElement);
      this.key = key;
      this.tabs.replaceChildren(
        ...runs.map(({ settings }, i) => {
          const radio = element("input", { type: "radio", name: "tab", value: i });
          radio.addEventListener("change", () => this.edit(i));
          return element("label", { className: i ? "b" : "a" }, radio, `${"AB"[i]} ${settings.optimizer.name}`);
        }),
      );
      if (held) this.tabs.querySelectorAll("input")[this.run].focus();
    }
    this.tabs.querySelectorAll("input").forEach((radio, i) => (radio.checked = i === this.run));
  }

  edit(run) {
    this.run = run;
    this.edited();
  }

  /** Fields for the arguments of an optimizer or a schedule: numbers and switches. */
  arguments(host, given, what) {
    const all = Object.entries(given ?? {}).filter(
      ([name, value]) => !["name", "learning_rate"].includes(name) && ["number", "boolean"].includes(typeof value),
    );
    const key = JSON.stringify([given?.name, all.map(([name]) => name)]);
    const put = (name, value) => this.ask({ [what]: { ...this.settings[what], [name]: value } });
    if (host.key !== key) {
      host.key = key;
      host.boxes = all.map(([name, value]) => {
        if (typeof value === "number") return numeric((entered) => put(name, entered), { step: "any" });
        const box = element("input", { type: "checkbox" });
        box.addEventListener("change", () => put(name, box.checked));
        box.put = (on) => (box.checked = on);
        return box;
      });
      host.replaceChildren(...all.map(([name], i) => field(words(name), host.boxes[i])));
    }
    all.forEach(([, value], i) => host.boxes[i].put(value));
  }
}

/** Minus, a number, plus. */
function stepper(what, changed) {
  const button = (text, by, label) => {
    const one = element("button", { type: "button" }, text);
    one.setAttribute("aria-label", `${label} ${what}`);
    one.addEventListener("click", () => changed(by));
    return one;
  };
  const [less, more] = [button("\u2212", -1, "Fewer"), button("+", 1, "More")];
  const said = element("output");
  const host = element("span", { className: "stepper", role: "group" }, less, said, more);
  host.setAttribute("aria-label", what);
  host.put = (value, least, most) => {
    said.textContent = value;
    less.disabled = value <= least;
    more.disabled = value >= most;
  };
  return host;
}

/** The number of hidden layers, and of each its neurons and its activation. */
export class LayerControls {
  constructor(bar, host, ask) {
    this.host = host;
    this.ask = (layers) => ask({ layers });
    this.depth = stepper("hidden layers", (by) => this.resize(by));
    bar.append(element("span", { className: "what" }, "Hidden layers", this.depth));
    this.cells = [];
  }

  resize(by) {
    const { layers } = this;
    const last = layers.at(-1) ?? { units: 4, activation: "tanh" };
    this.ask(
      by > 0 ? [...layers, { units: Math.min(last.units, 4), activation: last.activation }] : layers.slice(0, -1),
    );
  }

  change(i, part) {
    this.ask(this.layers.map((layer, k) => (k === i ? { ...layer, ...part } : layer)));
  }

  update(settings, choices, data, outputs) {
    this.layers = settings.layers;
    this.depth.put(this.layers.length, 0, choices.limits.layers);
    if (this.cells.length !== this.layers.length) {
      this.cells = this.layers.map((_, i) => this.cell(i));
      this.first = element("div", { className: "layer plain" });
      this.last = element("div", { className: "layer plain" });
      this.host.replaceChildren(this.first, ...this.cells.map((one) => one.host), this.last);
    }
    const inputs = data.columns.length;
    this.first.textContent = `${inputs} ${inputs === 1 ? "input" : "inputs"}`;
    const last = settings.output === "identity" ? "" : `, ${words(settings.output)}`;
    this.last.textContent = `${outputs} ${outputs === 1 ? "output" : "outputs"}${last}`;
    this.layers.forEach((layer, i) => {
      this.cells[i].units.put(layer.units, 1, choices.limits.units);
      this.cells[i].activation.put(choices.activations, layer.activation);
    });
    this.layout();
  }

  cell(i) {
    const units = stepper(`neurons of layer ${i + 1}`, (by) => this.change(i, { units: this.layers[i].units + by }));
    const activation = choice((name) => this.change(i, { activation: name }), `Activation of layer ${i + 1}`);
    const host = element(
      "div",
      { className: "layer" },
      element("span", { className: "title" }, `Layer ${i + 1}`),
      units,
      activation,
    );
    return { host, units, activation };
  }

  /** Above their columns where there is room, else one below the other. */
  layout() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.host.classList.toggle("list", this.host.clientWidth / (this.cells.length + 2) < 5 * rem);
  }
}
