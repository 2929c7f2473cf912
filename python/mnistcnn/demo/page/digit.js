// Conversion of a drawing to the format of MNIST. This is `mnistcnn.as_digit` for bright ink on a black canvas, where
// there is no paper and no noise to remove; a test compares both.
"use strict";

const SIDE = 28, BOX = 20; // pixels; the digit fits the box, and its centre of mass is at the centre of the image
const WORKING_SIDE = 240; // pixels; the longer side of a digit is reduced to this
const INK_THRESHOLD = 0.35; // fraction of the strongest ink; pixels above it belong to the digit
const MIN_STROKE = 1.8; // pixels in the box; thinner strokes are thickened to it
const GAIN = 1.25; // so that the centre of a stroke is saturated

// Return the digit, u8 [28 * 28], or null if the drawing, u8 [height * width], is blank.
function asDigit(drawing, width, height) {
  const strongest = drawing.reduce((a, b) => Math.max(a, b), 0);
  if (strongest === 0) return null;
  const ink = { width, height, data: drawing.map((grey) => Math.floor((255 * grey) / strongest)) };
  return centred(scaled(crop(ink, digitBounds(ink))));
}

// Round half to even, as Python does.
function round(value) {
  const floor = Math.floor(value), rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

// Bounds of the pixels with ink; in large drawings, isolated pixels are ignored.
function digitBounds({ width, height, data }) {
  const strong = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] > 255 * INK_THRESHOLD;
  const neighbours = (x, y) => {
    let count = 0;
    for (let i = -1; i <= 1; ++i) for (let j = -1; j <= 1; ++j) count += strong(x + i, y + j);
    return count;
  };
  const boundsOf = (belongs) => {
    const bounds = { left: width, top: height, right: -1, bottom: -1 };
    for (let y = 0; y < height; ++y) {
      for (let x = 0; x < width; ++x) {
        if (!strong(x, y) || !belongs(x, y)) continue;
        bounds.left = Math.min(bounds.left, x);
        bounds.right = Math.max(bounds.right, x);
        bounds.top = Math.min(bounds.top, y);
        bounds.bottom = y;
      }
    }
    return bounds;
  };
  const bounds = boundsOf((x, y) => neighbours(x, y) >= 4);
  return Math.min(width, height) < 2 * SIDE || bounds.right < 0 ? boundsOf(() => true) : bounds;
}

function crop(image, { left, top, right, bottom }) {
  const width = right - left + 1, height = bottom - top + 1, data = new Uint8Array(width * height);
  for (let y = 0; y < height; ++y) {
    const start = (top + y) * image.width + left;
    data.set(image.data.subarray(start, start + width), y * width);
  }
  return { width, height, data };
}

// Scale the digit to fit the box, and thicken thin strokes.
function scaled(image) {
  if (Math.max(image.width, image.height) > WORKING_SIDE) {
    image = resized(image, WORKING_SIDE, 0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0));
  }
  const longer = Math.max(image.width, image.height);
  const missing = (MIN_STROKE * longer) / BOX - strokeWidth(image);
  if (longer > 2 * BOX && missing >= 1) image = thickened(image, Math.max(1, round(missing / 2)));
  image = resized(image, BOX, 1, (x) => Math.max(0, 1 - Math.abs(x)));
  const brightest = image.data.reduce((a, b) => Math.max(a, b), 0);
  const data = Float32Array.from(image.data, (grey) => Math.min((grey * GAIN * 255) / brightest, 255));
  return { ...image, data };
}

// Mean stroke width in pixels: twice the area divided by the length of the outline.
function strokeWidth({ width, height, data }) {
  const strong = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] > 127;
  let area = 0, outline = 0;
  for (let y = 0; y <= height; ++y) {
    for (let x = 0; x <= width; ++x) {
      area += strong(x, y);
      outline += (strong(x, y) !== strong(x - 1, y)) + (strong(x, y) !== strong(x, y - 1));
    }
  }
  return (2 * area) / Math.max(outline, 1);
}

// Maximum over squares of 2 * radius + 1 pixels, in an image that is larger by the radius on each side.
function thickened({ width, height, data }, radius) {
  const wide = width + 2 * radius, high = height + 2 * radius;
  const rows = new Uint8Array(wide * height), result = new Uint8Array(wide * high);
  for (let y = 0; y < height; ++y) {
    for (let x = 0; x < wide; ++x) {
      for (let from = Math.max(0, x - 2 * radius); from <= Math.min(x, width - 1); ++from) {
        rows[y * wide + x] = Math.max(rows[y * wide + x], data[y * width + from]);
      }
    }
  }
  for (let y = 0; y < high; ++y) {
    for (let from = Math.max(0, y - 2 * radius); from <= Math.min(y, height - 1); ++from) {
      for (let x = 0; x < wide; ++x) result[y * wide + x] = Math.max(result[y * wide + x], rows[from * wide + x]);
    }
  }
  return { width: wide, height: high, data: result };
}

// Resize the longer side to the given size, with the filter and the rounding of Pillow.
function resized(image, longer, support, filter) {
  const factor = longer / Math.max(image.width, image.height);
  const width = Math.max(1, round(image.width * factor)), height = Math.max(1, round(image.height * factor));
  const columns = weightsOf(image.width, width, support, filter), rows = weightsOf(image.height, height, support, filter);
  const narrow = new Uint8Array(width * image.height), data = new Uint8Array(width * height);
  for (let y = 0; y < image.height; ++y) {
    for (let x = 0; x < width; ++x) narrow[y * width + x] = weighted(image.data, y * image.width, 1, columns[x]);
  }
  for (let y = 0; y < height; ++y) {
    for (let x = 0; x < width; ++x) data[y * width + x] = weighted(narrow, x, width, rows[y]);
  }
  return { width, height, data };
}

function weighted(data, start, step, { first, weights }) {
  let sum = 0.5;
  weights.forEach((weight, i) => (sum += weight * data[start + (first + i) * step]));
  return Math.min(255, Math.floor(sum));
}

// For each output: the first input, and the weights of the inputs from there on.
function weightsOf(inputs, outputs, support, filter) {
  const scale = inputs / outputs, stretch = Math.max(scale, 1);
  return Array.from({ length: outputs }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const end = Math.min(inputs, Math.trunc(centre + support * stretch + 0.5));
    const weights = Array.from({ length: end - first }, (_, j) => filter((first + j - centre + 0.5) / stretch));
    const total = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

// Place the digit in the image with its centre of mass at the centre, as far as the digit is not cut off.
function centred({ width, height, data }) {
  let mass = 0, row = 0, column = 0;
  data.forEach((ink, i) => {
    mass += ink;
    row += ink * Math.floor(i / width);
    column += ink * (i % width);
  });
  const start = (centre, size) => Math.min(Math.max(round(SIDE / 2 - centre), 0), SIDE - size);
  const top = start(row / mass, height), left = start(column / mass, width);
  const digit = new Uint8Array(SIDE * SIDE);
  data.forEach((ink, i) => (digit[(top + Math.floor(i / width)) * SIDE + left + (i % width)] = round(ink)));
  return digit;
}
