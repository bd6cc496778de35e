// What the network has learned: its output over the plane under the points, or the curve through them.

import { Picture, fit, theme } from "./colours.js";
import { profile } from "./network.js";
import { bytes } from "./wire.js";
import { element, input, number, words } from "./words.js";

export class Surface {
  constructor() {
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.over = element("canvas", { role: "img" });
    this.plane = element("div", { className: "plane" }, this.canvas, this.over);
    this.said = element("span");
    this.scale = element("span", { className: "scale" });
    this.caption = element("figcaption", { className: "caption" }, this.said, this.scale);
    this.host = element("figure", { className: "out" }, this.plane, this.caption);
    this.unit = null;
    this.picture = null;
    this.rows = [];
  }

  /** Other points, or another kind of output. */
  structure(data) {
    this.data = data;
    this.flat = data.axes.length === 1;
    this.picture = this.curves = null;
    this.rows = [];
    this.places = new Map(data.shown.map((row, at) => [row, at]));
    // Over one column, labels have probabilities: those of several classes lie at the bottom, in their colours.
    this.heights = data.goal === "classes" ? data.y.map(() => 0) : data.y;
    const [least, most] = data.goal === "number" ? [Math.min(...data.y), Math.max(...data.y)] : [0, 1];
    this.extent = this.flat
      ? [...data.extent, least - 0.25 * (most - least || 1), most + 0.25 * (most - least || 1)]
      : data.extent;
    this.middle = (least + most) / 2;
    const [across, up] = data.axes.map((axis) => input(data.columns, axis));
    this.usual = this.flat ? `The curve over ${across}` : `${across} across, ${up} up`;
    if (data.target) this.usual += `; ${data.target} in standard deviations`;
    if (data.rows[1]) this.usual += "; \u25cb held out";
    this.legend();
    this.layout();
  }

  legend(low, high) {
    const { classes, goal } = this.data;
    this.scale.className = goal === "classes" ? "classes" : "scale";
    if (goal === "classes") {
      const dot = (k) => element("i", { style: `background:${theme.names[k % 10]}` });
      this.scale.replaceChildren(...classes.map((name, k) => element("span", {}, dot(k), String(name))));
    } else if (this.flat) this.scale.replaceChildren();
    else {
      const [from, to] = goal === "binary" ? classes : [number(low, 3), number(high, 3)];
      this.scale.replaceChildren(String(from), element("i"), String(to));
    }
  }

  layout() {
    const { clientWidth: width, clientHeight: height } = this.plane;
    if (!width) return;
    Object.assign(this, { width, height });
    fit(this.canvas, width, height);
    fit(this.over, width, height);
    if (this.data) this.points();
  }

  update(frame) {
    const { surface } = frame;
    if (surface.kind === "curve") this.curves = surface.values;
    else {
      const { side } = this.data;
      this.picture ??= new Picture(side, side);
      this.raw = bytes(surface.data, this.raw);
      this.kinds = surface.kind === "classes" ? bytes(surface.class, this.kinds) : null;
      if (surface.kind === "number") this.legend(surface.low, surface.high);
      this.colour();
    }
    const rows = frame.pending?.rows ?? [];
    if (rows.length !== this.rows.length || rows.some((row, i) => row !== this.rows[i])) {
      this.rows = rows;
      this.points();
    }
  }

  colour() {
    if (!this.picture) return;
    if (this.kinds) this.picture.likeliest(this.kinds, this.raw, 1 / this.data.classes.length);
    else this.picture.ramp(this.raw);
  }

  repaint() {
    this.colour();
    this.layout();
  }

  /** Shows the map of a neuron instead of the output, as long as one looks at it. */
  show(unit) {
    this.unit = unit;
  }

  draw() {
    if (!this.width) return;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.width, this.height);
    context.fillStyle = theme.middle;
    context.fillRect(0, 0, this.width, this.height);
    const { unit } = this;
    const map = unit?.map;
    if (map && map.rows > 1) map.picture.draw(context, 0, 0, this.width, this.height, unit.j * map.rows, map.rows);
    else if (map) profile(context, map, unit.j, 0, 0, this.width, this.height);
    else if (this.flat) this.drawCurve(context);
    else if (this.picture) this.picture.draw(context, 0, 0, this.width, this.height);
    this.over.style.opacity = !map ? (this.flat ? 0.75 : 1) : this.flat ? 0.15 : 0.5;
    const said = unit?.name ?? this.usual ?? "";
    if (this.said.textContent !== said) this.said.textContent = said;
    this.scale.style.visibility = map ? "hidden" : ""; // a neuron has a scale of its own
  }

  drawCurve(context) {
    for (const [k, values] of (this.curves ?? []).entries()) {
      context.beginPath();
      values.forEach((value, i) => context.lineTo((i * this.width) / (values.length - 1), this.up(value)));
      Object.assign(context, {
        strokeStyle: this.data.goal === "classes" ? theme.names[k % 10] : theme.high,
        lineWidth: 3.5,
        lineJoin: "round",
      });
      context.stroke();
    }
  }

  across(value) {
    const [low, high] = this.extent;
    return ((value - low) / (high - low)) * this.width;
  }

  up(value) {
    const [, , low, high] = this.extent;
    return this.height - ((value - low) / (high - low)) * this.height;
  }

  points() {
    if (!this.width || !this.data) return;
    const context = this.over.getContext("2d");
    context.clearRect(0, 0, this.width, this.height);
    const { x, y, test } = this.data;
    const size =
      Math.max(2.4, Math.min(7.5, this.width / 75)) * (x.length > 400 || this.flat ? 0.7 : x.length <= 8 ? 1.7 : 1);
    const at = (r) => [this.across(x[r][0]), this.up(this.flat ? this.heights[r] : x[r][1])];
    for (const held of [1, 0]) {
      for (let r = 0; r < x.length; r++) if (test[r] === held) this.point(context, at(r), y[r], size, held);
    }
    this.rows.forEach((row, k) => {
      if (!this.places.has(row)) return;
      context.beginPath();
      context.arc(...at(this.places.get(row)), size + 3.5, 0, 7);
      Object.assign(context, { strokeStyle: theme.ink, lineWidth: k ? 1.3 : 3 });
      context.stroke();
    });
    this.over.setAttribute("aria-label", this.described());
  }

  point(context, [x, y], target, size, held) {
    context.beginPath();
    context.arc(x, y, held ? size * 0.8 : size, 0, 7);
    const colour = this.colourOf(target);
    Object.assign(context, { fillStyle: colour, strokeStyle: held ? colour : theme.card, lineWidth: held ? 1.6 : 1.2 });
    if (!held) context.fill();
    context.stroke();
  }

  colourOf(target) {
    const { goal } = this.data;
    if (goal === "classes") return theme.names[target % 10];
    if (this.flat && goal === "number") return theme.blue;
    return target > (goal === "binary" ? 0 : this.middle) ? theme.orange : theme.blue;
  }

  described() {
    const { name, columns, axes, rows, classes } = this.data;
    const over = axes.map((axis) => columns[axis]).join(" and ");
    const kinds = classes.length ? ` of ${classes.length} classes` : "";
    const held = rows[1] ? `, ${rows[1]} more held out` : "";
    return `${words(name)}: the network's output over ${over}, and ${rows[0]} points${kinds}${held}`;
  }
}
