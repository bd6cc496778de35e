// Small pictures of the data sets.

import { fit, theme } from "./colours.js";

/** Points of a set in a square of side 2 about 0, with their class; the same each time. */
const SETS = {
  xor: () => [
    [-0.6, -0.6, 0],
    [0.6, 0.6, 0],
    [-0.6, 0.6, 1],
    [0.6, -0.6, 1],
  ],
  circles: () => [...ring(18, 0.82, 0), ...ring(9, 0.34, 1)],
  moons: () => [...arc(11, 0, Math.PI, -0.3, -0.22, 0), ...arc(11, Math.PI, 2 * Math.PI, 0.3, 0.22, 1)],
  spirals: () => [...spiral(0, 0), ...spiral(Math.PI, 1)],
  blobs: () => [...ring(9, 0.25, 0, 0.4, 0.4), ...ring(9, 0.25, 1, -0.4, -0.4)],
};

const ring = (n, r, kind, a = 0, b = 0) =>
  Array.from({ length: n }, (_, i) => [a + r * Math.cos((6.2832 * i) / n), b + r * Math.sin((6.2832 * i) / n), kind]);
const arc = (n, from, to, a, b, kind) =>
  Array.from({ length: n }, (_, i) => from + ((to - from) * i) / (n - 1)).map((t) => [
    a + 0.55 * Math.cos(t),
    b + 0.55 * Math.sin(t),
    kind,
  ]);
const spiral = (turn, kind) =>
  Array.from({ length: 16 }, (_, i) => (i + 1) / 16).map((t) => [
    0.9 * t * Math.cos(5.2 * t + turn),
    0.9 * t * Math.sin(5.2 * t + turn),
    kind,
  ]);

export function thumbnail(canvas, name) {
  const size = canvas.clientWidth;
  if (!size) return;
  fit(canvas, size, size);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, size, size);
  const place = (v) => size * (0.5 + 0.42 * v);
  const points = SETS[name]?.();
  if (points) {
    for (const [x, y, kind] of points) {
      context.beginPath();
      context.arc(place(x), place(-y), size * (points.length < 8 ? 0.09 : 0.038), 0, 7);
      context.fillStyle = kind ? theme.high : theme.low;
      context.fill();
    }
  } else if (name === "curve") {
    context.beginPath();
    for (let x = -0.95; x <= 0.96; x += 0.05) context.lineTo(place(x), place(-0.55 * Math.sin(4 * x)));
    Object.assign(context, { strokeStyle: theme.high, lineWidth: Math.max(2, size / 26), lineCap: "round" });
    context.stroke();
  } else {
    context.strokeStyle = theme.faint;
    context.lineWidth = 1.2;
    for (const at of [-0.5, 0, 0.5]) {
      context.strokeRect(place(-0.75), place(at - 0.25), size * 0.63, size * 0.21);
      context.fillStyle = at < 0 ? theme.low : theme.high;
      context.globalAlpha = 0.5;
      context.fillRect(place(0.25), place(at - 0.25), size * 0.21, size * 0.21);
      context.globalAlpha = 1;
    }
  }
}
