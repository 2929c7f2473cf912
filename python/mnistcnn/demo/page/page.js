"use strict";

const find = (id) => document.getElementById(id);
const drawing = find("drawing");
const pen = drawing.getContext("2d", { willReadFrequently: true });
const SERVER_LOST = "No connection to the server. Start mnistcnn demo again.";
const state = { drawn: false, changed: false, busy: false, last: null, pointer: null };

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

// ---- requests: one at a time, always with the latest drawing

function changed() {
  state.changed = true;
  if (!state.busy) request();
}

async function request() {
  state.busy = true;
  while (state.changed) {
    state.changed = false;
    if (!state.drawn) {
      show(null);
      continue;
    }
    try {
      const answer = await send();
      show(state.drawn ? answer : null);
      showError("");
    } catch (error) {
      showError(error instanceof TypeError ? SERVER_LOST : error.message);
    }
  }
  state.busy = false;
}

async function send() {
  const { data } = pen.getImageData(0, 0, drawing.width, drawing.height);
  const grey = new Uint8Array(data.length / 4);
  for (let i = 0; i < grey.length; ++i) grey[i] = data[4 * i];
  const response = await fetch("/read", {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: grey,
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function showError(text) {
  find("error").textContent = text;
  find("error").hidden = text === "";
}

// ---- display

const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;

function show(answer) {
  const probabilities = answer?.probabilities ?? [];
  const best = probabilities.indexOf(Math.max(...probabilities));
  find("answer").textContent = probabilities.length
    ? `Prediction: ${best}, ${percent(probabilities[best])} (${answer.milliseconds.toFixed(0)} ms)`
    : "Draw a digit to see the prediction.";
  [...find("bars").children].forEach((row, index) => {
    const probability = probabilities[index] ?? 0;
    row.classList.toggle("best", index === best);
    row.querySelector(".bar").style.width = `${100 * probability}%`;
    row.querySelector(".probability").textContent = probabilities.length ? percent(probability) : "–";
  });
  paint(find("image"), answer?.image, (grey) => [grey, grey, grey]);
  paint(find("heat"), answer?.image, (grey, index) => {
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

async function start() {
  const model = await (await fetch("/model")).json();
  find("about").textContent =
    `${model.name}, ${model.parameters.toLocaleString("en")} parameters. The prediction is updated while you draw. No data leaves this machine.`;
  for (const canvas of [find("image"), find("heat")]) canvas.width = canvas.height = model.size;
  drawing.width = drawing.height = model.canvas;
  for (let index = 0; index < model.classes; ++index) {
    const row = document.createElement("li");
    for (const part of ["name", "track", "probability"]) {
      const element = document.createElement("span");
      element.className = part;
      row.append(element);
    }
    row.children[0].textContent = index;
    const bar = document.createElement("div");
    bar.className = "bar";
    row.children[1].append(bar);
    find("bars").append(row);
  }
  clear();
  document.body.dataset.ready = "yes";
}

start().catch(() => showError(SERVER_LOST));
