// Two colours that mean something, blue below and orange above, on light and on dark; more where there are classes.

const CLASSES = [
  "#3a86c8",
  "#e07b20",
  "#1b9e77",
  "#c45aa0",
  "#d4b106",
  "#56b4e9",
  "#8c6bb1",
  "#a6611a",
  "#7f8c8d",
  "#e377c2",
];
const asked = (query) => window.matchMedia(query);
const dark = asked("(prefers-color-scheme: dark)");
const still = asked("(prefers-reduced-motion: reduce)");

/** Whether things may move by themselves. */
export const calm = () => still.matches;

/** The colours of the page as it is now; `ramp` is 256 colours from blue to orange as RGBA. */
export const theme = { ramp: new Uint32Array(256), classes: CLASSES.map(rgb), names: CLASSES };

function rgb(text) {
  const digits = text.trim().slice(1);
  return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
}

const packed = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
const mixed = (a, b, share) => a.map((from, i) => Math.round(from + (b[i] - from) * share));

function read() {
  const style = getComputedStyle(document.documentElement);
  for (const name of [
    "paper",
    "card",
    "ink",
    "soft",
    "faint",
    "line",
    "wash",
    "blue",
    "orange",
    "low",
    "high",
    "middle",
    "second",
  ]) {
    theme[name] = style.getPropertyValue(`--${name}`).trim();
  }
  theme.dark = dark.matches;
  theme.size = parseFloat(style.fontSize);
  theme.font = style.fontFamily;
  const [low, middle, high] = [theme.low, theme.middle, theme.high].map(rgb);
  for (let i = 0; i < 256; i++) {
    const side = (i - 127.5) / 127.5;
    // Steeper near the middle, so that one sees where the sign changes.
    theme.ramp[i] = packed(mixed(middle, side < 0 ? low : high, Math.abs(side) ** 0.8 * 0.7));
  }
  theme.middleRgb = middle;
}

/** Reads the colours, now and whenever they change. */
export function follow(changed) {
  read();
  dark.addEventListener("change", () => (read(), changed()));
  window.addEventListener("resize", () => (read(), changed()));
}

/** Classes as colours, paler where the network is less sure; `least` is how sure a guess is. */
function likeliest(kinds, sure, least, pixels) {
  for (let at = 0; at < pixels.length; at++) {
    const share = 0.1 + 0.6 * Math.max(0, (sure[at] / 255 - least) / (1 - least));
    const [r, g, b] = theme.middleRgb;
    const to = theme.classes[kinds[at] % CLASSES.length];
    const [red, green, blue] = [r + (to[0] - r) * share, g + (to[1] - g) * share, b + (to[2] - b) * share];
    pixels[at] = (255 << 24) | (blue << 16) | (green << 8) | red;
  }
}

/** A canvas of as many pixels as its place has; true if it was made anew. */
export function fit(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  const changed = canvas.width !== w || canvas.height !== h;
  if (changed) Object.assign(canvas, { width: w, height: h });
  canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  return changed;
}

/** A small picture that is written byte by byte and drawn large. */
export class Picture {
  constructor(width, height) {
    this.canvas = new OffscreenCanvas(width, height);
    this.context = this.canvas.getContext("2d");
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    Object.assign(this, { width, height });
  }

  /** Bytes of which each stretch of `n` goes from its low to its high; blue below 0, orange above, white at 0. */
  signed(data, n, low, high) {
    for (let k = 0; k * n < data.length; k++) {
      const most = Math.max(Math.abs(low[k]), Math.abs(high[k])) || 1;
      const [begin, step] = [127.5 + (127.5 * low[k]) / most, ((high[k] - low[k]) * 127.5) / (255 * most)];
      for (let at = k * n; at < (k + 1) * n; at++) this.pixels[at] = theme.ramp[Math.round(begin + step * data[at])];
    }
    this.context.putImageData(this.image, 0, 0);
  }

  /** Bytes from 0, blue, to 255, orange. */
  ramp(data) {
    for (let i = 0; i < data.length; i++) this.pixels[i] = theme.ramp[data[i]];
    this.context.putImageData(this.image, 0, 0);
  }

  likeliest(kinds, sure, least) {
    likeliest(kinds, sure, least, this.pixels);
    this.context.putImageData(this.image, 0, 0);
  }

  /** Draws `rows` of it, the first of them at the top. */
  draw(context, x, y, width, height, from = 0, rows = this.height) {
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.canvas, 0, from, this.width, rows, x, y, width, height);
  }
}
