// The losses of the runs over the steps.

import { fit, theme } from "./colours.js";
import { brief, element, minus, number } from "./words.js";

export class Curves {
  constructor() {
    this.canvas = element("canvas", { role: "img", "aria-label": "Loss over the steps" });
    this.said = element("span", { className: "caption" });
    const head = element("figcaption", { className: "head" }, "Loss", this.said);
    this.host = element("figure", { className: "chart" }, head, this.canvas);
    this.runs = [];
    this.names = [];
  }

  structure(names) {
    this.names = names;
    this.runs = names.map((_, run) => this.runs[run] ?? []);
  }

  layout() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width) return;
    Object.assign(this, { width, height });
    fit(this.canvas, width, height);
  }

  /** What is new of each curve, and after how many points it comes. */
  add(news) {
    this.runs = this.names.map((_, run) => {
      const { from, points } = news[run] ?? { from: 0, points: [] };
      const kept = from ? this.runs[run] : [];
      kept.length = Math.min(kept.length, from);
      for (const point of points) kept.push(point);
      return kept;
    });
  }

  draw() {
    if (!this.width) return;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.width, this.height);
    const held = this.runs.some((points) => points.some((point) => point[2] !== null));
    this.legend(held);
    const scale = this.scaled();
    this.axes(context, scale);
    this.runs.forEach((points, run) => {
      if (!points.length) return;
      const colour = run ? theme.second : theme.ink;
      if (held) this.curve(context, points, 2, scale, colour, [4, 4], 1.4);
      this.curve(context, points, 1, scale, colour, [], 2);
    });
  }

  legend(held) {
    const names = this.names.length > 1 ? this.names.map((name) => `\u2014 ${name}`) : [];
    const all = [...names, ...(held ? ["\u2504 held out"] : []), ...(this.speed ? [this.speed] : [])];
    if (all.join() === this.said.key) return;
    this.said.key = all.join();
    this.said.replaceChildren(
      ...all.map((text, i) => element("span", { className: i < names.length ? `run-${i}` : "" }, text)),
    );
  }

  /** From steps and losses to places; logarithmic where losses are far apart. */
  scaled() {
    const size = theme.size * 0.72;
    const area = { left: size * 3.7, right: this.width - 4, top: 6, bottom: this.height - size * 1.6, size };
    let [least, most] = [Infinity, -Infinity];
    for (const points of this.runs) {
      for (const [, loss, held] of points) {
        least = Math.min(least, loss ?? Infinity, held ?? Infinity);
        most = Math.max(most, loss ?? -Infinity, held ?? -Infinity);
      }
    }
    if (least > most) [least, most] = [0, 1];
    const log = least > 0 && most > 10 * least;
    const [a, b] = log ? [Math.log10(least), Math.log10(most)] : [Math.min(0, least), most];
    const pad = (b - a || 1) * 0.04;
    const [low, high] = [log ? a - pad : a, b + pad];
    const steps = Math.max(1, ...this.runs.map((points) => points.at(-1)?.[0] ?? 0));
    return {
      ...area,
      log,
      low,
      high,
      steps,
      x: (step) => area.left + (step / steps) * (area.right - area.left),
      y: (loss) => area.bottom - (((log ? Math.log10(loss) : loss) - low) / (high - low)) * (area.bottom - area.top),
    };
  }

  ticks({ log, low, high }) {
    if (log) {
      const found = [];
      const wide = high - low > 2.5;
      const every = Math.max(1, Math.ceil((high - low) / 5));
      for (let p = Math.ceil(low - 1); p <= high; p++) {
        if (p % every === 0) for (const k of wide ? [1] : [1, 3]) found.push(k * 10 ** p);
      }
      return found.filter((v) => Math.log10(v) >= low && Math.log10(v) <= high);
    }
    const step = [1, 2, 5, 10]
      .map((k) => k * 10 ** Math.floor(Math.log10((high - low) / 3)))
      .find((k) => (high - low) / k <= 5);
    const found = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) found.push(Number(v.toPrecision(12)));
    return found;
  }

  axes(context, scale) {
    Object.assign(context, {
      font: `${scale.size}px ${theme.font}`,
      fillStyle: theme.soft,
      lineWidth: 1,
      strokeStyle: theme.line,
    });
    context.textAlign = "right";
    for (const value of this.ticks(scale)) {
      const y = Math.round(scale.y(value)) + 0.5;
      context.beginPath();
      context.moveTo(scale.left, y);
      context.lineTo(scale.right, y);
      context.stroke();
      context.fillText(
        value > 0 && value < 1e-3 ? minus(value.toExponential(0)) : number(value, 2),
        scale.left - 6,
        y + scale.size * 0.35,
      );
    }
    context.textAlign = "left";
    context.fillText("0", scale.left, this.height - 3);
    context.textAlign = "right";
    context.fillText(scale.steps > 1 ? `${brief(scale.steps)} steps` : "steps", scale.right, this.height - 3);
  }

  curve(context, points, at, scale, colour, dash, width) {
    context.beginPath();
    for (const point of points) {
      const value = point[at];
      if (value !== null && (!scale.log || value > 0)) context.lineTo(scale.x(point[0]), scale.y(value));
    }
    if (points.length === 1) context.arc(scale.x(0), scale.y(points[0][at]), 2, 0, 7);
    Object.assign(context, { strokeStyle: colour, lineWidth: width, lineJoin: "round" });
    context.setLineDash(dash);
    context.stroke();
    context.setLineDash([]);
  }
}
