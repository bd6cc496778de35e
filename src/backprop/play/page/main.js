// The page: what comes from the program is drawn, what is clicked is asked of it. The program alone knows what is so.

import { calm, follow } from "./colours.js";
import { DataControls, LayerControls, TrainingControls } from "./controls.js";
import { Curves } from "./curves.js";
import { Inspector } from "./inspector.js";
import { Drawing } from "./network.js";
import { Surface } from "./surface.js";
import * as wire from "./wire.js";
import { brief, count, element, number, steady } from "./words.js";

const byId = (id) => document.getElementById(id);
const live = byId("live");
const tip = byId("tip");
const dialog = byId("code");

let state = null;
let frame = null;
let lost = false;
let refused = "";
let modeChosen = false; // whether the reader has said what the lines show

// Asking.

async function ask(request) {
  try {
    const answer = await wire.ask(request);
    refused = "";
    notice();
    return answer;
  } catch (error) {
    refused = error.message;
    notice();
    if (state) settingsShown(); // what was asked for is not so
    throw error;
  }
}

const quietly = (request) => ask(request).catch(() => {});
const act = (name, given) => quietly({ do: name, ...given });

const LOST =
  "The connection to the program is lost; trying again\u2026 " +
  "If you ended it, start it again with: python -m backprop play";

/** One sentence at the top: what is lost, refused, or cannot go on. */
function notice() {
  const ended = frame?.runs.map((run) => run.diverged).find(Boolean);
  const said = refused || ended || "";
  const text = lost ? LOST : said.charAt(0).toUpperCase() + said.slice(1);
  const host = byId("notice");
  if (host.textContent !== text) host.textContent = text;
  host.hidden = !text;
}

// What is on the page.

const curves = new Curves();
const runs = [0, 1].map((index) => {
  const host = byId(`run${index}`);
  const which = element("span", { className: "which" });
  const bar = element("div", { className: "bar" }, which);
  const layers = element("div", { className: "layers" });
  const drawn = element("div", { className: "drawing" });
  const caption = element("p", { className: "caption" });
  host.append(bar, layers, drawn, caption);
  const surface = new Surface();
  const drawing = new Drawing(index, drawn, {
    chosen: (place) => choose(index, place),
    looked: (unit) => (
      surface.show(
        unit && {
          name: drawing.unitName(unit.c, unit.j),
          map: drawing.maps.get(drawing.columns[unit.c].name),
          j: unit.j,
        },
      ),
      redraw()
    ),
    told: (said) => (tell(said), redraw()),
  });
  drawing.surface = surface;
  const controls = new LayerControls(bar, layers, (settings) => act("settings", { run: index, settings }));
  return { index, host, which, bar, caption, surface, drawing, controls };
});

const inspector = new Inspector(byId("inspector"), {
  drawing: (run) => runs[run].drawing,
  ask,
  closed: () => redraw(),
});
const data = new DataControls(byId("data"), quietly);
const training = new TrainingControls(byId("training"), { ask: quietly, edited: () => settingsShown() });
byId("right").append(runs[0].surface.host, curves.host);
runs[1].host.append(runs[1].surface.host);

/** What the lines show, for all drawings. */
const modes = ["weights", "gradients", "updates"];
const lines = element("span", { className: "lines", role: "radiogroup" });
lines.setAttribute("aria-label", "What the lines show");
lines.append(
  ...modes.map((mode) => {
    const radio = element("input", { type: "radio", name: "lines", value: mode, checked: mode === "weights" });
    radio.addEventListener("change", () => ((modeChosen = mode !== "weights"), show(mode)));
    return element("label", {}, radio, mode[0].toUpperCase() + mode.slice(1));
  }),
);
runs[0].bar.append(lines);

const CAPTIONS = {
  weights: ["below zero", "above zero", "the thicker a line, the larger its weight"],
  gradients: ["below zero", "above zero", "what the coming batch says of each weight"],
  updates: ["smaller", "larger", "what the last steps changed"],
};

function show(mode) {
  lines.querySelectorAll("input").forEach((radio) => (radio.checked = radio.value === mode));
  for (const run of runs) {
    run.drawing.mode = mode;
    const [low, high, rest] = CAPTIONS[mode];
    run.caption.replaceChildren(
      element("i", { className: "swatch" }),
      low,
      element("i", { className: "swatch high" }),
      `${high}; ${rest}`,
    );
  }
  redraw();
}

// What comes.

const titleOf = (settings, i, of) =>
  `${of > 1 ? `${"AB"[i]} ` : ""}${settings.optimizer.name} ${number(settings.optimizer.learning_rate)}`;
const changed = (before, now) => JSON.stringify(before) !== JSON.stringify(now);

function onState(found) {
  const before = state;
  state = found;
  const titles = state.runs.map((run, i) => titleOf(run.settings, i, state.runs.length));
  state.runs.forEach((run, i) => (run.title = titles[i]));
  const two = state.runs.length > 1;
  if (!before || before.runs.length !== state.runs.length) arrange(two);
  const newData = changed(before?.data, state.data);
  state.runs.forEach((run, i) => {
    const { drawing, surface } = runs[i];
    if (newData || changed(before?.runs[i]?.operations, run.operations)) {
      drawing.structure(run.operations, state.data, run.settings.layers.length);
      surface.structure(state.data);
    }
  });
  inspector.structure();
  const settings = ({ runs: all }) => all.map((run) => run.settings);
  if (before && !state.playing && changed(settings(before), settings(state))) inspector.refresh();
  curves.structure(titles);
  settingsShown();
  redraw();
}

/** One network, or two one above the other. */
function arrange(two) {
  document.body.classList.toggle("two", two);
  runs[1].host.hidden = !two;
  if (two) runs[0].host.append(runs[0].surface.host);
  else byId("score").after(runs[0].surface.host);
  inspector.close();
  measure();
}

function settingsShown() {
  data.update(state);
  training.update(state);
  state.runs.forEach((run, i) => {
    const outputs = run.operations.at(-1).n_out;
    runs[i].controls.update(run.settings, state.choices, state.data, outputs);
  });
  byId("compare").checked = state.runs.length > 1;
}

function onFrame(found) {
  const before = frame;
  frame = found;
  if (!state || frame.runs.length !== state.runs.length) return;
  document.body.classList.toggle("playing", frame.playing);
  curves.add(frame.history);
  frame.runs.forEach((run, i) => {
    runs[i].drawing.update(run);
    runs[i].surface.update(run);
  });
  phase(before);
  scores();
  notice();
  if (frame.playing) inspector.stale();
  else if (
    !before ||
    before.playing ||
    before.phase !== frame.phase ||
    changed(
      before.runs.map((run) => run.step),
      frame.runs.map((run) => run.step),
    )
  )
    inspector.refresh();
  inspector.numbers();
  tellLive(before);
  redraw();
}

/** Where in a step it is, and what lights up. */
function phase(before) {
  const button = byId("play");
  button.setAttribute("aria-label", frame.playing ? "Pause" : "Play");
  const at = ["forward", "backward"].indexOf(frame.phase);
  ["forward", "backward", "update"].forEach((name, i) => {
    byId(name).classList.toggle("done", i < at);
    byId(name).classList.toggle("now", i === at);
    byId(name).setAttribute("aria-pressed", String(i <= at));
  });
  byId("update").removeAttribute("aria-pressed");
  if (!before || frame.playing) {
    if (frame.playing && !before?.playing && !modeChosen) show("weights");
    return;
  }
  const stepped = !before.playing && frame.runs[0].step > before.runs[0].step;
  const kind = frame.phase !== before.phase && frame.phase ? frame.phase : stepped ? "update" : "";
  if (!kind) return;
  for (const run of runs) run.drawing.light(kind);
  if (!modeChosen) show({ forward: "weights", backward: "gradients", update: "updates" }[kind]);
}

function scores() {
  const [first] = frame.runs;
  const item = (name, title, key, written) => {
    const values = frame.runs.map((run) => element("dd", {}, written(run[key])));
    return element("div", { title }, element("dt", {}, name), ...values);
  };
  const share = (value) => (value === null ? "\u2013" : `${number(100 * value, 3)}\u00a0%`);
  const items = [
    item("Epoch", "Times that all rows were seen", "epoch", count),
    item("Loss", "Of all training rows", "loss", steady),
  ];
  if (first.val_loss !== null)
    items.push(item("Held out", "The loss of rows that are not trained on", "val_loss", steady));
  const held = first.val_accuracy !== null && first.val_accuracy !== undefined;
  if (first.accuracy !== undefined) {
    items.push(
      item(
        "Accuracy",
        held ? "Of rows that are not trained on" : "Of all rows",
        held ? "val_accuracy" : "accuracy",
        share,
      ),
    );
  }
  curves.speed = frame.playing ? `${brief(first.steps_per_second)} steps a second` : "";
  byId("score").replaceChildren(...items);
  frame.runs.forEach((run, i) => (runs[i].which.textContent = state.runs[i].title));
}

let told = 0;

/** The loss, for who listens: now and then while it plays, at once when it does not. */
function tellLive(before) {
  const now = performance.now();
  if (
    frame.playing
      ? now - told < 5000
      : before &&
        !before.playing &&
        !changed(
          before.runs.map((run) => run.step),
          frame.runs.map((run) => run.step),
        ) &&
        before.phase === frame.phase
  )
    return;
  told = now;
  const one = (run, i) =>
    `${frame.runs.length > 1 ? `${state.runs[i].title}: ` : ""}step ${count(run.step)}, loss ${number(run.loss)}`;
  const after = frame.phase ? `, after ${frame.phase}` : "";
  live.textContent = frame.runs.map(one).join("; ") + after;
}

// Drawing: at most once a frame of the screen, and only where something has changed.

let asked = false;

function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(draw);
}

function draw(now) {
  asked = false;
  let moving = false;
  for (const run of runs) {
    if (run.host.hidden) continue;
    moving = run.drawing.draw(now) || moving;
    run.surface.draw();
  }
  curves.draw();
  if (moving && !calm()) redraw();
}

function measure() {
  const two = document.body.classList.contains("two");
  for (const run of runs) {
    run.drawing.room = window.innerHeight * (two ? 0.3 : 0.55);
    if (run.controls.layers) run.controls.layout();
    run.drawing.layout();
    run.surface.layout();
  }
  curves.layout();
  redraw();
}

follow(() => {
  for (const run of runs) {
    run.drawing.repaint();
    run.surface.repaint();
  }
  data.repaint();
  measure();
});
const observer = new ResizeObserver(() => measure());
for (const run of runs) observer.observe(run.host);
observer.observe(byId("right"));

// Looking and choosing.

function choose(run, place) {
  if (frame?.playing) act("pause");
  inspector.open(run, place);
  tell(null);
  redraw();
}

function tell(said) {
  tip.hidden = !said;
  if (!said) return;
  tip.textContent = said.text;
  const [x, y] = [Math.min(said.x + 14, window.innerWidth - tip.offsetWidth - 8), said.y + 16];
  tip.style.left = `${Math.max(8, x)}px`;
  tip.style.top = `${y + tip.offsetHeight > window.innerHeight ? said.y - tip.offsetHeight - 10 : y}px`;
}

const play = () => act(frame?.playing ? "pause" : "play");
byId("play").addEventListener("click", play);
for (const name of ["step", "forward", "backward", "update", "reset"])
  byId(name).addEventListener("click", () => act(name));

byId("compare").addEventListener("change", async (event) => {
  const on = event.target.checked;
  await act("compare", { on });
  if (!on) return;
  const name = state?.runs[0].settings.optimizer.name === "SGD" ? "Adam" : "SGD";
  await act("settings", { run: 1, settings: { optimizer: { name } } });
});

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || target.matches("select, input, textarea"))
    return;
  if (key === " " && target.matches("button, summary, a")) return;
  const known = {
    " ": play,
    ArrowRight: () => act("step"),
    f: () => act("forward"),
    b: () => act("backward"),
    u: () => act("update"),
    r: () => act("reset"),
    Escape: () => inspector.close(),
  };
  const does = known[key.length === 1 ? key.toLowerCase() : key];
  if (!does) return;
  event.preventDefault();
  does();
});

// The Python of what one sees.

byId("export").addEventListener("click", async () => {
  const { run } = training;
  const found = await act("python", { run });
  if (!found) return;
  byId("code-text").textContent = found.text;
  byId("copied").textContent = "";
  byId("files").replaceChildren(
    ...state.exports.map((kind) =>
      element("a", { href: `model/${run}.${kind}`, download: `model.${kind}` }, `Save as ${kind}`),
    ),
    element("a", { href: `trace/${run}`, target: "_blank", rel: "noopener" }, "This step as a page"),
  );
  dialog.showModal();
});
byId("code-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
byId("copy").addEventListener("click", async () => {
  let done = true;
  try {
    await navigator.clipboard.writeText(byId("code-text").textContent);
  } catch {
    getSelection().selectAllChildren(byId("code-text"));
    done = document.execCommand("copy");
  }
  byId("copied").textContent = done ? "Copied." : "Press Ctrl+C to copy what is selected.";
});

show("weights");
wire.listen({
  state: onState,
  frame: onFrame,
  open: () => ((lost = false), notice()),
  lost: () => ((lost = true), notice()),
});
