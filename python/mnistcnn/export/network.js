// The network runs in this page: PROGRAM holds its calls of the primitives below, which are those of primitives.c, with
// the same arguments. Tensors are Float32Arrays that share one memory.
"use strict";

const primitives = {
  conv2d(x, out, weight, bias, channels, height, width, outs, rows, columns, kernelRows, kernelColumns, strideY,
         strideX, top, left, dilationY, dilationX, groups) {
    const size = height * width, depth = channels / groups, plane = rows * columns;
    let next = 0; // weight
    for (let o = 0; o < outs; ++o) {
      out.fill(bias[o], o * plane, (o + 1) * plane);
      const group = Math.floor(o / (outs / groups)) * depth;
      for (let c = group; c < group + depth; ++c) {
        for (let tap = 0; tap < kernelRows * kernelColumns; ++tap) {
          const factor = weight[next++];
          const y0 = Math.floor(tap / kernelColumns) * dilationY - top, x0 = (tap % kernelColumns) * dilationX - left;
          let first = 0, end = columns;
          while (first < columns && first * strideX + x0 < 0) ++first;
          while (end > first && (end - 1) * strideX + x0 >= width) --end;
          for (let row = 0; row < rows; ++row) {
            const y = row * strideY + y0;
            if (y < 0 || y >= height) continue;
            const from = c * size + y * width + x0, to = o * plane + row * columns;
            for (let i = first; i < end; ++i) out[to + i] += factor * x[from + i * strideX];
          }
        }
      }
    }
  },

  linear(x, out, weight, bias, ins, outs) {
    for (let o = 0; o < outs; ++o) {
      let sum = bias[o];
      for (let i = 0; i < ins; ++i) sum += weight[o * ins + i] * x[i];
      out[o] = sum;
    }
  },

  max_pool(x, out, y, windows, channels, height, width, rows, columns, dilationY, dilationX) {
    let next = 0;
    for (let c = 0; c < channels; ++c) {
      for (let row = 0; row < rows; ++row) {
        for (let column = 0; column < columns; ++column) {
          let largest = -Infinity;
          for (let i = y[2 * row]; i < y[2 * row + 1]; i += dilationY) {
            for (let j = windows[2 * column]; j < windows[2 * column + 1]; j += dilationX) {
              largest = Math.max(largest, x[(c * height + i) * width + j]);
            }
          }
          out[next++] = largest;
        }
      }
    }
  },

  avg_pool(x, out, y, windows, factorY, factorX, channels, height, width, rows, columns) {
    let next = 0;
    for (let c = 0; c < channels; ++c) {
      for (let row = 0; row < rows; ++row) {
        for (let column = 0; column < columns; ++column) {
          let sum = 0;
          for (let i = y[2 * row]; i < y[2 * row + 1]; ++i) {
            for (let j = windows[2 * column]; j < windows[2 * column + 1]; ++j) sum += x[(c * height + i) * width + j];
          }
          out[next++] = sum * factorY[row] * factorX[column];
        }
      }
    }
  },

  gather(x, out, a, b, c, d) {
    let next = 0;
    for (const i of a) {
      for (const j of b) for (const k of c) for (const l of d) out[next++] = i + j + k + l < 0 ? 0 : x[i + j + k + l];
    }
  },

  copy(x, out, size) {
    out.set(x.subarray(0, size));
  },

  add(x, y, size) {
    for (let i = 0; i < size; ++i) x[i] += y[i];
  },

  multiply(x, y, size) {
    for (let i = 0; i < size; ++i) x[i] *= y[i];
  },

  affine(x, scale, shift, size, inner, count) {
    for (let i = 0; i < size; ++i) {
      const at = Math.floor(i / inner) % count;
      x[i] = x[i] * scale[at] + shift[at];
    }
  },

  standardize(x, groups, size, eps) {
    for (let group = 0; group < groups; ++group) {
      const part = x.subarray(group * size, (group + 1) * size);
      const mean = part.reduce((sum, each) => sum + each, 0) / size;
      const variance = part.reduce((sum, each) => sum + (each - mean) ** 2, 0) / size;
      part.forEach((each, i) => (part[i] = (each - mean) / Math.sqrt(variance + eps)));
    }
  },

  softmax(x, size, inner) {
    primitives.log_softmax(x, size, inner);
    for (let i = 0; i < size * inner; ++i) x[i] = Math.exp(x[i]);
  },

  log_softmax(x, size, inner) {
    for (let at = 0; at < inner; ++at) {
      let largest = -Infinity, sum = 0;
      for (let i = at; i < size * inner; i += inner) largest = Math.max(largest, x[i]);
      for (let i = at; i < size * inner; i += inner) sum += Math.exp(x[i] - largest);
      for (let i = at; i < size * inner; i += inner) x[i] -= largest + Math.log(sum);
    }
  },

  prelu(x, slope, size, inner, count) {
    for (let i = 0; i < size; ++i) if (x[i] < 0) x[i] *= slope[Math.floor(i / inner) % count];
  },
};

// Elementwise functions of an element and the arguments of the call.
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const functions = {
  relu: (x) => Math.max(x, 0),
  relu6: (x) => Math.min(Math.max(x, 0), 6),
  leaky_relu: (x, slope) => (x < 0 ? slope * x : x),
  elu: (x, alpha) => (x < 0 ? alpha * Math.expm1(x) : x),
  tanh: Math.tanh,
  sigmoid,
  silu: (x) => x * sigmoid(x),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  hardswish: (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6,
  mish: (x) => x * Math.tanh(x > 20 ? x : Math.log1p(Math.exp(x))),
  softplus: (x, beta, threshold) => (beta * x > threshold ? x : Math.log1p(Math.exp(beta * x)) / beta),
  reciprocal: (x) => 1 / x,
  scale_shift: (x, scale, shift) => x * scale + shift,
};
for (const [name, apply] of Object.entries(functions)) {
  primitives[name] = (x, size, ...options) => {
    for (let i = 0; i < size; ++i) x[i] = apply(x[i], ...options);
  };
}

// Abramowitz and Stegun, formula 7.1.26; the error is below 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}

// ---- constants: strings are base64 of float32, little-endian; lists contain integers

function decoded(array) {
  if (Array.isArray(array)) return array;
  const bytes = Uint8Array.from(atob(array), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

const memory = new Float32Array(PROGRAM.memory);
const constants = PROGRAM.arrays.map(decoded);
const calls = PROGRAM.calls.map(([name, offsets, ...options]) => {
  const tensors = offsets.map((offset) => memory.subarray(offset));
  const values = options.map((option) => (Array.isArray(option) ? constants[option[0]] : option));
  return () => primitives[name](...tensors, ...values);
});

// Return the outputs of the network for the pixels of an image, u8 [C * H * W].
function outputs(image) {
  const plane = image.length / PROGRAM.scale.length;
  image.forEach((pixel, i) => {
    const channel = Math.floor(i / plane);
    memory[PROGRAM.image + i] = pixel * PROGRAM.scale[channel] + PROGRAM.shift[channel];
  });
  for (const call of calls) call();
  return memory.slice(PROGRAM.output, PROGRAM.output + PROGRAM.names.length);
}

// ---- the functions that page.js calls

async function describe() {
  const { name, parameters, names } = PROGRAM;
  return { name, parameters, names, heat: false, note: "No data leaves this page." };
}

async function classify(digit) {
  const start = performance.now();
  const result = outputs(digit);
  if (PROGRAM.outputs === "logits") primitives.softmax(result, result.length, 1);
  const probabilities = Array.from(result, PROGRAM.outputs === "log_probabilities" ? Math.exp : (each) => each);
  return { probabilities, milliseconds: performance.now() - start };
}
