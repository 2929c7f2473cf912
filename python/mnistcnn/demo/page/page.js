// Drawing and display. `asDigit` converts the drawing; `describe` and `classify` are those of server.js, or of network.js
// in an exported page.
"use strict";

const find = (id) => document.getElementById(id);
const drawing = find("drawing");
const pen = drawing.getContext("2d", { willReadFrequently: true });
const KEY_STEP = 8; // pixels that an arrow key moves the cursor
const state = { names: [], drawn: false, changed: false, busy: false, last: null, pointer: null, keyboard: null };

// ---- drawing

function place(event) {
  const box = drawing.getBoundingClientRect();
  const scale = drawing.width / box.width;
  return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
}

function stroke(from, to) {
  pen.strokeStyle = "#fff";
  pen.lineWidth = Number(find("pen").value);
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(from.x, from.y);
  pen.lineTo(to.x, to.y);
  pen.stroke();
  state.drawn = true;
  changed();
}

drawing.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || state.pointer !== null) return;
  state.pointer = event.pointerId;
  hideCursor();
  drawing.setPointerCapture(event.pointerId);
  state.last = place(event);
  stroke(state.last, state.last); // a dot
});

drawing.addEventListener("pointermove", (event) => {
  if (event.pointerId !== state.pointer) return;
  for (const each of event.getCoalescedEvents?.() ?? [event]) {
    const here = place(each);
    stroke(state.last, here);
    state.last = here;
  }
});

for (const name of ["pointerup", "pointercancel"]) {
  drawing.addEventListener(name, (event) => {
    if (event.pointerId === state.pointer) state.pointer = null;
  });
}

// ---- drawing with the keyboard: arrow keys move a cursor, the space bar starts and stops a line

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

drawing.addEventListener("keydown", (event) => {
  if (!(event.key in ARROWS) && event.key !== " ") return;
  event.preventDefault();
  const from = (state.keyboard ??= { x: drawing.width / 2, y: drawing.height / 4, down: false });
  if (event.key === " ") {
    from.down = !from.down;
    if (from.down) stroke(from, from);
  } else {
    const [x, y] = ARROWS[event.key];
    const inside = (value, size) => Math.min(Math.max(value, 0), size);
    const to = { x: inside(from.x + x * KEY_STEP, drawing.width), y: inside(from.y + y * KEY_STEP, drawing.height) };
    if (from.down) stroke(from, to);
    state.keyboard = { ...to, down: from.down };
  }
  showCursor();
});

drawing.addEventListener("blur", hideCursor);

function showCursor() {
  const { x, y, down } = state.keyboard;
  const cursor = find("cursor");
  cursor.hidden = false;
  cursor.classList.toggle("down", down);
  cursor.style.left = `${(100 * x) / drawing.width}%`;
  cursor.style.top = `${(100 * y) / drawing.height}%`;
}

function hideCursor() {
  state.keyboard = null;
  find("cursor").hidden = true;
}

function clear() {
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, drawing.width, drawing.height);
  state.drawn = false;
  changed();
}

find("clear").addEventListener("click", clear);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "c" || event.key === "C" || event.key === "Escape") clear();
});

// ---- predictions: one at a time, always of the latest drawing

function changed() {
  state.changed = true;
  if (!state.busy) update();
}

async function update() {
  state.busy = true;
  while (state.changed) {
    state.changed = false;
    const digit = state.drawn ? asDigit(pixels(), drawing.width, drawing.height) : null;
    try {
      const answer = digit && (await classify(digit));
      if (state.drawn || !digit) show(digit, answer);
      showError("");
    } catch (error) {
      showError(error.message);
    }
  }
  state.busy = false;
}

function pixels() {
  const { data } = pen.getImageData(0, 0, drawing.width, drawing.height);
  const grey = new Uint8Array(data.length / 4);
  for (let i = 0; i < grey.length; ++i) grey[i] = data[4 * i];
  return grey;
}

function showError(text) {
  find("error").textContent = text;
  find("error").hidden = text === "";
}

// ---- display

const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;

function show(digit, answer) {
  const probabilities = answer?.probabilities ?? [];
  const best = probabilities.indexOf(Math.max(...probabilities));
  find("answer").textContent = probabilities.length
    ? `Prediction: ${state.names[best]}, ${percent(probabilities[best])} (${answer.milliseconds.toFixed(0)} ms)`
    : `Draw a ${subject()} to see the prediction.`;
  [...find("bars").children].forEach((row, index) => {
    const probability = probabilities[index] ?? 0;
    row.classList.toggle("best", index === best);
    row.querySelector(".bar").style.width = `${100 * probability}%`;
    row.querySelector(".probability").textContent = probabilities.length ? percent(probability) : "–";
  });
  paint(find("image"), digit, (grey) => [grey, grey, grey]);
  if (answer && !answer.heat) return;
  paint(find("heat"), digit, (grey, index) => {
    const [red, green, blue] = heatColour(answer.heat[index]);
    return [0.35 * grey + 0.65 * red, 0.35 * grey + 0.65 * green, 0.35 * grey + 0.65 * blue];
  });
}

// The colour map inferno: black, violet, orange, pale yellow. Lightness increases evenly.
const HEAT_COLOURS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

function heatColour(heat) {
  const at = Math.min(Math.max(heat, 0), 0.9999) * (HEAT_COLOURS.length - 1);
  const low = Math.floor(at);
  return HEAT_COLOURS[low].map((value, i) => value + (HEAT_COLOURS[low + 1][i] - value) * (at - low));
}

function paint(canvas, image, colour) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!image) return;
  const pixels = context.createImageData(canvas.width, canvas.height);
  image.forEach((grey, index) => pixels.data.set([...colour(grey, index), 255], 4 * index));
  context.putImageData(pixels, 0, 0);
}

// Return a word for what the classes are.
function subject() {
  if (state.names.every((name) => /^\d$/.test(name))) return "digit";
  return state.names.every((name) => [...name].length === 1) ? "character" : "picture";
}

async function start() {
  const model = await describe();
  state.names = model.names;
  document.querySelector("h1").textContent = `Draw a ${subject()}`;
  document.title = `mnistcnn: draw a ${subject()}`;
  find("about").textContent =
    `${model.name}, ${model.parameters.toLocaleString("en")} parameters. The prediction is updated while you draw. ${model.note}`;
  find("maps").classList.toggle("single", !model.heat);
  find("heat").parentElement.hidden = !model.heat;
  for (const canvas of [find("image"), find("heat")]) canvas.width = canvas.height = SIDE;
  const longest = Math.max(...model.names.map((name) => name.length));
  if (longest > 2) find("bars").style.setProperty("--name", `${0.6 * longest}rem`);
  for (const name of model.names) {
    const row = document.createElement("li");
    for (const part of ["name", "track", "probability"]) {
      const element = document.createElement("span");
      element.className = part;
      row.append(element);
    }
    row.children[0].textContent = name;
    const bar = document.createElement("div");
    bar.className = "bar";
    row.children[1].append(bar);
    find("bars").append(row);
  }
  clear();
  document.body.dataset.ready = "yes";
}

start().catch((error) => showError(error.message));
