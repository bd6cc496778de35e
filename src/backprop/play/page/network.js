// The drawing of a network: a canvas with each neuron's own map and the weights as lines, under buttons for neurons.

import { Picture, calm, fit, theme } from "./colours.js";
import { bytes } from "./wire.js";
import { count, element, input, number, steady, words } from "./words.js";

const MOST = 16; // units of a column that are drawn
const SWEEP = { forward: 700, backward: 900, update: 1100 }; // milliseconds
const STYLES = 12; // widths of lines
const NARROWEST = 0.75; // of what the letters of a name would take

export class Drawing {
  /** `chosen(place)` is called for a click on a unit or a weight, `looked(unit)` where a unit is under the pointer. */
  constructor(run, host, { chosen, looked, told }) {
    Object.assign(this, { run, host, chosen, looked, told });
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.context = this.canvas.getContext("2d");
    this.buttons = element("div", { role: "group" });
    host.append(this.canvas, this.buttons);
    this.columns = [];
    this.maps = new Map();
    this.mode = "weights";
    this.frame = {};
    this.hover = this.selected = this.sweep = null;
    host.addEventListener("pointermove", (event) => this.pointed(event));
    host.addEventListener("pointerleave", () => this.leave());
    host.addEventListener("click", (event) => this.clicked(event));
    this.buttons.addEventListener("keydown", (event) => this.key(event));
    this.buttons.addEventListener("focusin", (event) => this.looked(this.unitOf(event.target)));
    this.buttons.addEventListener("focusout", () => this.looked(null));
  }

  /** The network anew: the input and the dense layers as columns. */
  structure(operations, data, hidden) {
    const dense = operations.filter((operation) => operation.kind === "dense");
    const column = (name, n, given) => ({ name, n, shown: Math.min(n, MOST), ...given });
    this.columns = [
      column("input", dense[0].n_in, { label: "input" }),
      ...dense.map((operation, i) =>
        column(operation.name, operation.n_out, {
          activation: operation.activation,
          label: i < hidden ? `layer ${i + 1}` : "output",
        }),
      ),
    ];
    this.data = data;
    this.maps.clear();
    this.frame = {};
    this.hover = this.selected = this.sweep = null;
    this.buttons.replaceChildren();
    this.columns.forEach((one, c) => {
      for (let j = 0; j < one.shown; j++) {
        const button = element("button", { type: "button", className: "unit", tabIndex: c || j ? -1 : 0 });
        button.setAttribute("aria-label", this.unitName(c, j));
        button.place = [c, j];
        this.buttons.append(button);
      }
    });
    this.buttons.setAttribute("aria-label", this.described());
    this.inputs();
    this.layout();
  }

  unitName(c, j) {
    const one = this.columns[c];
    if (c === 0) return `Input ${input(this.data.columns, j)}`;
    const place =
      one.label === "output" ? (one.n > 1 ? `Output ${j + 1}` : "Output") : `Neuron ${j + 1} of ${one.label}`;
    return one.activation && one.activation !== "identity" ? `${place}, ${words(one.activation)}` : place;
  }

  /** What an input is on the plane: a slope along its axis. */
  inputs() {
    const { axes, small } = this.data;
    const n = this.columns[0].shown;
    const [rows, across] = this.grid();
    const data = new Uint8Array(n * rows * across);
    for (let at = 0; at < data.length; at++) {
      const i = Math.floor(at / (rows * across));
      const [row, column] = [Math.floor(at / across) % rows, at % across];
      const along = axes[0] === i ? column / (across - 1) : axes[1] === i ? 1 - row / (small - 1) : 0.5;
      data[at] = 255 * along;
    }
    const ends = [Array(n).fill(-1), Array(n).fill(1)];
    this.maps.set("input", {
      data,
      n,
      low: ends[0],
      high: ends[1],
      rows,
      across,
      picture: new Picture(across, rows * n),
    });
    this.paint(this.maps.get("input"));
  }

  /** Rows and columns of a neuron's own map: of a curve there is one row. */
  grid() {
    return this.data.axes.length === 1 ? [1, 2 * this.data.small] : [this.data.small, this.data.small];
  }

  paint(map) {
    map.picture.signed(map.data, map.rows * map.across, map.low, map.high);
  }

  /** Where all is, for the room there is. */
  layout() {
    if (!this.columns.length) return;
    const width = this.host.clientWidth;
    if (!width) return;
    const most = Math.max(...this.columns.map((one) => one.shown));
    const room = this.room ?? 420;
    const rem = theme.size;
    const across = width / this.columns.length;
    const largest = Math.min(5 * rem, Math.max(across * 0.36, Math.min(across * 0.6, 2.7 * rem)));
    const pitch = Math.max(2.05 * rem, Math.min(largest + 2 * rem, room / most));
    const box = Math.round(Math.max(16, Math.min(pitch * (pitch > 3 * rem ? 0.68 : 0.8), largest)));
    const height = Math.round(pitch * most + 0.4 * rem);
    Object.assign(this, { width, height, pitch, box, across, texts: pitch - box > 0.85 * rem });
    this.thick = 5.6 * Math.min(1.1, pitch / 60, (across - box) / 60);
    this.canvas.style.height = `${height}px`;
    fit(this.canvas, width, height);
    const names = this.texts || across < 3 * box ? 0 : this.widestName() + box / 2 + 12;
    const aside = Math.max(0, Math.min(names - across / 2, 0.2 * across));
    this.columns.forEach((one, c) => {
      one.x = Math.round(across * (c + 0.5) + (c === 0 ? aside : 0));
      one.y = Array.from({ length: one.shown }, (_, j) =>
        Math.round(height / 2 + (j - (one.shown - 1) / 2) * pitch - (this.texts ? 0.3 * rem : 0)),
      );
    });
    for (const button of this.buttons.children) {
      const [c, j] = button.place;
      const one = this.columns[c];
      button.style.cssText = `left:${one.x - box / 2}px;top:${one.y[j] - box / 2}px;width:${box}px;height:${box}px`;
    }
  }

  /** New numbers. */
  update(frame) {
    const still = Object.values(frame.updates).every((values) => values.every((value) => value === 0));
    this.frame = { ...frame, updates: still ? this.frame.updates : frame.updates };
    const [rows, across] = this.grid();
    for (const [name, { low, high, data }] of Object.entries(frame.units)) {
      let map = this.maps.get(name);
      if (!map) {
        map = { n: low.length, rows, across, picture: new Picture(across, rows * low.length) };
        this.maps.set(name, map);
      }
      Object.assign(map, { low, high, data: bytes(data, map.data) });
      this.paint(map);
    }
  }

  /** Colours may have changed. */
  repaint() {
    for (const map of this.maps.values()) this.paint(map);
    this.layout();
  }

  /** Lets the numbers of a pass light up, from the one side to the other. */
  light(kind) {
    this.sweep = { kind, start: performance.now() };
  }

  /** The numbers that the lines show, flat, of the layer of this column. */
  numbers(c, mode = this.mode) {
    return this.frame[mode]?.[`${this.columns[c].name}.weight`] ?? null;
  }

  /** Draws; true while something moves. */
  draw(now) {
    if (!this.columns.length || !this.width) return false;
    const moving = this.moving(now);
    const { context } = this;
    context.clearRect(0, 0, this.width, this.height);
    this.drawLines(moving);
    this.drawUnits(moving);
    return Boolean(moving) && moving.share < 1 && !calm();
  }

  moving(now) {
    if (!this.sweep) return null;
    const share = calm() ? 1 : Math.min(1, (now - this.sweep.start) / SWEEP[this.sweep.kind]);
    return { kind: this.sweep.kind, share };
  }

  /** How much the gap before column c glows. */
  glow(moving, c) {
    if (!moving || moving.share >= 1) return 0;
    if (moving.kind === "update") return (1 - moving.share) ** 1.5;
    const gaps = this.columns.length - 1;
    const place = moving.kind === "forward" ? (c - 0.5) / gaps : (gaps - c + 0.5) / gaps;
    return Math.max(0, 1 - Math.abs(place - moving.share) * gaps * 0.9);
  }

  drawLines(moving) {
    const mode = this.frame[this.mode] ? this.mode : "weights";
    let most = mode === "weights" ? 1 : 0;
    for (let c = 1; c < this.columns.length; c++) {
      for (const value of this.numbers(c, mode) ?? []) most = Math.max(most, Math.abs(value));
    }
    for (let c = 1; c < this.columns.length; c++) {
      const values = this.numbers(c, mode);
      if (!values) continue;
      this.drawGap(c, values, most || 1, mode);
      const glow = this.glow(moving, c);
      if (glow > 0) this.drawGlow(c, moving.kind, glow);
    }
    if (this.selected?.kind === "weight") this.outline(this.selected);
    if (this.hover?.kind === "weight") this.outline(this.hover);
  }

  /** Lines of one width and sign as one path: a stroke each would take the time of a frame. */
  drawGap(c, values, most, mode) {
    const { context } = this;
    const [before, after] = [this.columns[c - 1], this.columns[c]];
    for (let style = 0; style < 2 * STYLES; style++) {
      const positive = style >= STYLES;
      const level = style % STYLES;
      let any = false;
      for (let i = 0; i < before.shown; i++) {
        for (let j = 0; j < after.shown; j++) {
          const value = values[i * after.n + j];
          if (value > 0 !== positive) continue;
          const share = (Math.abs(value) / most) ** (mode === "weights" ? 0.75 : 0.5);
          if (Math.min(STYLES - 1, Math.floor(share * STYLES)) !== level) continue;
          if (!any) context.beginPath();
          any = true;
          this.line(c, i, j);
        }
      }
      if (!any) continue;
      const share = (level + 0.5) / STYLES;
      context.strokeStyle = positive ? theme.high : theme.low;
      context.globalAlpha = (0.22 + 0.72 * share) * (before.shown * after.shown > 100 ? 0.6 : 1);
      context.lineWidth = 0.6 + this.thick * share;
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /** Light that runs along: all lines on the way forward, on the way back as strong as gradients, then updates. */
  drawGlow(c, kind, glow) {
    const { context } = this;
    const [before, after] = [this.columns[c - 1], this.columns[c]];
    const values = kind === "forward" ? null : this.numbers(c, kind === "backward" ? "gradients" : "updates");
    let most = 0;
    for (const value of values ?? []) most = Math.max(most, Math.abs(value));
    context.strokeStyle = theme.ink;
    for (let level = 1; level <= 4; level++) {
      context.beginPath();
      for (let i = 0; i < before.shown; i++) {
        for (let j = 0; j < after.shown; j++) {
          const share = values ? Math.sqrt(Math.abs(values[i * after.n + j]) / (most || 1)) : 0.6;
          if (Math.ceil(share * 4) === level) this.line(c, i, j);
        }
      }
      context.globalAlpha = 0.13 * glow * level;
      context.lineWidth = 1 + 1.7 * level;
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  line(c, i, j) {
    const [before, after] = [this.columns[c - 1], this.columns[c]];
    const [x, y, u, v] = [before.x + this.box / 2, before.y[i], after.x - this.box / 2, after.y[j]];
    const middle = (x + u) / 2;
    this.context.moveTo(x, y);
    this.context.bezierCurveTo(middle, y, middle, v, u, v);
  }

  outline({ c, i, j }) {
    if (c >= this.columns.length) return;
    const value =
      this.numbers(c)?.[i * this.columns[c].n + j] ?? this.numbers(c, "weights")?.[i * this.columns[c].n + j] ?? 0;
    const { context } = this;
    for (const [width, colour] of [
      [8, theme.ink],
      [5, theme.paper],
      [3.4, value > 0 ? theme.high : theme.low],
    ]) {
      context.beginPath();
      this.line(c, i, j);
      Object.assign(context, { lineWidth: width, strokeStyle: colour });
      context.stroke();
    }
  }

  drawUnits(moving) {
    const { context, box } = this;
    const radius = Math.min(9, box * 0.2);
    this.columns.forEach((one, c) => {
      const map = this.maps.get(one.name);
      for (let j = 0; j < one.shown; j++) {
        const [x, y] = [one.x - box / 2, one.y[j] - box / 2];
        context.save();
        context.beginPath();
        context.roundRect(x, y, box, box, radius);
        context.fillStyle = theme.middle;
        context.fill();
        context.clip();
        if (map && j < map.n)
          this.drawMap(
            one.n === 1 && c === this.columns.length - 1 && this.surface.picture
              ? { whole: this.surface.picture }
              : map,
            j,
            x,
            y,
          );
        context.restore();
        this.border(c, j, x, y, radius, moving);
        if (this.texts) this.drawText(c, j);
        else if (c === 0) this.drawName(j);
      }
      if (one.n > one.shown) {
        context.fillStyle = theme.soft;
        context.font = `${theme.size * 0.72}px ${theme.font}`;
        context.textAlign = "center";
        context.fillText(`and ${one.n - one.shown} more`, one.x, this.height - 2);
      }
    });
  }

  drawMap(map, j, x, y) {
    const { context, box } = this;
    if (map.whole) map.whole.draw(context, x, y, box, box);
    else if (map.rows > 1) map.picture.draw(context, x, y, box, box, j * map.rows, map.rows);
    else profile(context, map, j, x, y, box, box);
  }

  border(c, j, x, y, radius, moving) {
    const { context, box } = this;
    const chosen = this.selected?.kind === "unit" && this.selected.c === c && this.selected.j === j;
    const under = this.hover?.kind === "unit" && this.hover.c === c && this.hover.j === j;
    const glow =
      moving && moving.kind !== "update" ? Math.max(this.glow(moving, c), this.glow(moving, c + 1) * 0.6) : 0;
    context.beginPath();
    context.roundRect(x, y, box, box, radius);
    context.strokeStyle = chosen || under || glow > 0.3 ? theme.ink : theme.faint;
    context.lineWidth = chosen ? 3 : under ? 2 : 1 + 2 * glow;
    context.stroke();
  }

  /** Under each neuron the number of the pass: its output, or on the way back dE/dz. */
  drawText(c, j) {
    const { context } = this;
    const one = this.columns[c];
    const pending = this.frame.pending;
    const delta = c > 0 ? pending?.deltas[one.name]?.[0][j] : undefined;
    const output = pending?.outputs[one.name]?.[0][j];
    const name = c === 0 ? `${input(this.data.columns, j)} ${this.inputOf(pending, j)}` : "";
    const text = delta !== undefined ? `\u03b4 ${number(delta, 3)}` : output !== undefined ? number(output, 3) : name;
    if (!text) return;
    context.font = `${theme.size * 0.74}px ${theme.font}`;
    context.textAlign = "center";
    context.fillStyle = delta === undefined || delta === 0 ? theme.ink : delta > 0 ? theme.orange : theme.blue;
    context.fillText(text, one.x, one.y[j] + this.box / 2 + theme.size * 0.82, this.across - 4);
  }

  /** The value of an input in the first row of a pass, where the page has it. */
  inputOf(pending, j) {
    const row = pending ? this.data.shown.indexOf(pending.rows[0]) : -1;
    const axis = this.data.axes.indexOf(j);
    return row < 0 || axis < 0 ? "" : number(this.data.x[row][axis], 3);
  }

  widestName() {
    this.context.font = `${theme.size * 0.74}px ${theme.font}`;
    return Math.max(...this.data.columns.map((_, j) => this.context.measureText(input(this.data.columns, j)).width));
  }

  /** Beside an input under which there is no room: a little narrower, or without its middle. */
  drawName(j) {
    const { context, box } = this;
    const one = this.columns[0];
    const room = one.x - box / 2 - 8;
    if (room < 1.2 * theme.size) return;
    Object.assign(context, { font: `${theme.size * 0.74}px ${theme.font}`, textAlign: "right", fillStyle: theme.ink });
    const name = input(this.data.columns, j);
    let text = name;
    for (let n = name.length - 1; n > 1 && context.measureText(text).width * NARROWEST > room; n--)
      text = `${name.slice(0, n / 3)}\u2026${name.slice(name.length - Math.ceil((2 * n) / 3))}`;
    context.fillText(text, one.x - box / 2 - 6, one.y[j] + 0.26 * theme.size, room);
  }

  // What is under the pointer.

  at(event) {
    const rect = this.host.getBoundingClientRect();
    const [x, y] = [event.clientX - rect.left, event.clientY - rect.top];
    const reach = event.pointerType === "touch" ? 14 : 7;
    const half = this.box / 2;
    for (const [c, one] of this.columns.entries()) {
      if (Math.abs(x - one.x) <= half) {
        const j = one.y.findIndex((middle) => Math.abs(y - middle) <= half);
        return j < 0 ? null : { kind: "unit", c, j };
      }
    }
    const c = this.columns.findIndex((one, k) => k > 0 && x < one.x - half && x > this.columns[k - 1].x + half);
    return c < 0 ? null : this.lineAt(c, x, y, reach);
  }

  /** The line nearest to a place between two columns: where x(t) is x, all lines of the gap have the same t. */
  lineAt(c, x, y, reach) {
    const [before, after] = [this.columns[c - 1], this.columns[c]];
    const [start, end] = [before.x + this.box / 2, after.x - this.box / 2];
    const share = (x - start) / (end - start);
    let [low, high] = [0, 1];
    for (let k = 0; k < 20; k++) {
      const t = (low + high) / 2;
      if (1.5 * t * (1 - t) ** 2 + 1.5 * t * t * (1 - t) + t ** 3 < share) low = t;
      else high = t;
    }
    const up = 3 * low ** 2 - 2 * low ** 3;
    const slope = (6 * low * (1 - low)) / (1.5 - 3 * low + 3 * low ** 2) / (end - start);
    let best = null;
    let nearest = reach;
    for (let i = 0; i < before.shown; i++) {
      for (let j = 0; j < after.shown; j++) {
        const rise = after.y[j] - before.y[i];
        const away = Math.abs(y - before.y[i] - rise * up) / Math.hypot(1, rise * slope);
        if (away < nearest) [nearest, best] = [away, { kind: "weight", c, i, j }];
      }
    }
    return best;
  }

  pointed(event) {
    const found = this.at(event);
    const same = JSON.stringify(found) === JSON.stringify(this.hover);
    this.hover = found;
    this.host.classList.toggle("edge", found !== null);
    if (!same) this.looked(found?.kind === "unit" ? found : null);
    this.told(found && { text: this.toldOf(found), x: event.clientX, y: event.clientY });
  }

  leave() {
    this.hover = null;
    this.told(null);
    this.looked(null);
  }

  /** The words of what is under the pointer. */
  toldOf(place) {
    const { c, i, j } = place;
    if (place.kind === "unit") {
      const output = this.frame.pending?.outputs[this.columns[c].name]?.[0][j];
      return output === undefined ? this.unitName(c, j) : `${this.unitName(c, j)}\noutput ${number(output)}`;
    }
    const at = i * this.columns[c].n + j;
    const lines = [this.weightName(c, i, j), `weight ${steady(this.numbers(c, "weights")?.[at])}`];
    for (const [mode, name] of [
      ["gradients", "gradient"],
      ["updates", "update"],
    ]) {
      const values = this.numbers(c, mode);
      if (values) lines.push(`${name} ${number(values[at])}`);
    }
    return lines.join("\n");
  }

  shortName(c, j) {
    const one = this.columns[c];
    if (c === 0) return input(this.data.columns, j);
    if (one.label === "output") return one.n > 1 ? `output ${j + 1}` : "the output";
    return `neuron ${j + 1} of ${one.label}`;
  }

  weightName(c, i, j) {
    return `${this.shortName(c - 1, i)} \u2192 ${this.shortName(c, j)}`;
  }

  clicked(event) {
    const button = event.target.closest(".unit");
    const found = button ? this.unitOf(button) : this.at(event);
    if (found) this.chosen(found);
  }

  unitOf(button) {
    return button.place ? { kind: "unit", c: button.place[0], j: button.place[1] } : null;
  }

  /** Arrows go from neuron to neuron. */
  key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move || !event.target.place) return;
    event.preventDefault();
    event.stopPropagation();
    const c = Math.max(0, Math.min(this.columns.length - 1, event.target.place[0] + move[0]));
    const j = Math.max(0, Math.min(this.columns[c].shown - 1, event.target.place[1] + move[1]));
    const next = this.buttonOf(c, j);
    for (const button of this.buttons.children) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  }

  // What the inspector asks.

  has({ c, i, j }) {
    return j < this.columns[c]?.shown && (i === undefined || i < this.columns[c - 1].shown);
  }

  focus({ c, j }) {
    this.buttonOf(c, j)?.focus();
  }

  buttonOf(c, j) {
    return [...this.buttons.children].find(({ place }) => place[0] === c && place[1] === j);
  }

  value({ c, i, j }, mode) {
    return this.numbers(c, mode)?.[i * this.columns[c].n + j];
  }

  unitNumbers({ c, j }) {
    return { bias: c ? this.frame.weights?.[`${this.columns[c].name}.bias`]?.[j] : undefined };
  }

  linesOf({ c, j }) {
    const count = c ? this.columns[c - 1].shown : this.columns[1].shown;
    return Array.from({ length: count }, (_, k) => ({ kind: "weight", c: c || 1, i: c ? k : j, j: c ? j : k }));
  }

  traceName({ kind, c, i, j }) {
    const { name } = this.columns[c];
    return kind === "weight" ? `${name}.weight[${i},${j}]` : c ? `${name}.output[0,${j}]` : `input[0,${j}]`;
  }

  /** What explains a place: of a neuron its output, and on the way back its delta. */
  traceNames(place) {
    const { c, j } = place;
    if (place.kind === "weight") return [this.traceName(place)];
    return c ? [this.traceName(place), `${this.columns[c].name}.delta[0,${j}]`] : [`dx[0,${j}]`];
  }

  /** Which step the numbers belong to. */
  stepName() {
    const [at, of] = this.frame.batch;
    return `The numbers of step ${count(this.frame.step + 1)}, which comes next: batch ${at + 1} of ${of}.`;
  }

  /** The network in a sentence, for who does not see it. */
  described() {
    const parts = this.columns.map((one, c) => {
      const kind = one.activation && one.activation !== "identity" ? `, ${words(one.activation)}` : "";
      if (c === 0) return `${one.n} ${one.n === 1 ? "input" : "inputs"}`;
      return one.label === "output"
        ? `${one.n} ${one.n === 1 ? "output" : "outputs"}${kind}`
        : `${one.label} of ${one.n} neurons${kind}`;
    });
    const keys = "Arrow keys go from neuron to neuron, Enter opens its numbers and its weights.";
    return `A network of ${parts.join("; ")}. ${keys}`;
  }
}

/** The outputs of a neuron along a line, as a curve with its area, about 0. */
export function profile(context, map, j, x, y, width, height) {
  const [low, high] = [map.low[j], map.high[j]];
  const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
  const middle = y + height / 2;
  const n = map.across;
  const up = (k) => middle - ((low + ((high - low) * map.data[j * n + k]) / 255) / most) * height * 0.42;
  const trace = () => {
    for (let k = 0; k < n; k++) context.lineTo(x + (k * width) / (n - 1), up(k));
  };
  for (const [colour, top] of [
    [theme.high, y],
    [theme.low, middle],
  ]) {
    context.save();
    context.beginPath();
    context.rect(x, top, width, height / 2);
    context.clip();
    context.beginPath();
    context.moveTo(x, middle);
    trace();
    context.lineTo(x + width, middle);
    Object.assign(context, { fillStyle: colour, globalAlpha: 0.45 });
    context.fill();
    context.restore();
  }
  context.beginPath();
  trace();
  Object.assign(context, { strokeStyle: theme.ink, lineWidth: 1.4 });
  context.stroke();
}
