// How numbers and names are written.

/** A number with so many significant digits. */
export function number(value, digits = 4) {
  if (value === null || value === undefined) return "\u2013";
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
    const [mantissa, exponent] = value.toExponential(Math.min(digits, 3) - 1).split("e");
    return `${minus(String(Number(mantissa)))}e${minus(String(Number(exponent)))}`;
  }
  return minus(String(Number(value.toPrecision(digits))));
}

/** A number of one width, for what changes while one looks. */
export function steady(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return number(value);
  const size = Math.abs(value);
  return size >= 1e4 || (size > 0 && size < 1e-3) ? number(value, 2) : minus(value.toFixed(size >= 100 ? 1 : 4));
}

export const minus = (text) => text.replace("-", "\u2212");

/** "binary_cross_entropy" as people write it. */
export const words = (name) => String(name).replaceAll("_", " ");

/** A count, with its thousands apart. */
export const count = (n) => (n ?? 0).toLocaleString("en");

/** A count in the room of a label: 12.3k. */
export const brief = (n) =>
  n < 1e4 ? String(Math.round(n)) : n < 1e6 ? `${number(n / 1e3, 3)}k` : `${number(n / 1e6, 3)}M`;

const SUBSCRIPTS = "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089";

/** The name of an input: x with its number, or the column of a table. */
export function input(columns, i) {
  return columns[i].replace(/^x(\d+)$/, (_, digits) => "x" + [...digits].map((d) => SUBSCRIPTS[d]).join(""));
}

/** An element with its properties or attributes, and what is in it. */
export function element(tag, given = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(given)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...inside);
  return made;
}
