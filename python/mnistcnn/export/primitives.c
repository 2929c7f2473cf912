/* Convolution of in [channels][height][width] to out [outs][rows][columns]; zeros surround the input. The loop over
   four input channels reads and writes each sum once instead of four times. */
static inline void PREFIX_conv2d(const float* PREFIX_RESTRICT in, float* PREFIX_RESTRICT out, const float* weight,
                                 const float* bias, int channels, int height, int width, int outs, int rows,
                                 int columns, int kernel_rows, int kernel_columns, int stride_y, int stride_x, int top,
                                 int left, int dilation_y, int dilation_x, int groups) {
  const int size = height * width, depth = channels / groups, taps = kernel_rows * kernel_columns;
  for (int o = 0; o < outs; ++o, weight += depth * taps) {
    const float* source = in + o / (outs / groups) * depth * size;
    for (int row = 0; row < rows; ++row, out += columns) {
      for (int i = 0; i < columns; ++i) out[i] = bias[o];
      for (int tap = 0; tap < taps; ++tap) {
        const int y = row * stride_y + tap / kernel_columns * dilation_y - top;
        const int x0 = tap % kernel_columns * dilation_x - left;
        int first = 0, end = columns, c = 0;
        while (first < columns && first * stride_x + x0 < 0) ++first;
        while (end > first && (end - 1) * stride_x + x0 >= width) --end;
        if (y < 0 || y >= height || first == end) continue;
        const float* x = source + y * width + first * stride_x + x0;
        const float* w = weight + tap;
        float* sum = out + first;
        for (; stride_x == 1 && c + 4 <= depth; c += 4, x += 4 * size, w += 4 * taps) {
          const float *x1 = x + size, *x2 = x1 + size, *x3 = x2 + size;
          const float w0 = w[0], w1 = w[taps], w2 = w[2 * taps], w3 = w[3 * taps];
          for (int i = 0; i < end - first; ++i) sum[i] += w0 * x[i] + w1 * x1[i] + w2 * x2[i] + w3 * x3[i];
        }
        for (; c < depth; ++c, x += size, w += taps) {
          for (int i = 0; i < end - first; ++i) sum[i] += w[0] * x[i * stride_x];
        }
      }
    }
  }
}

/* Fully connected layer of in [ins] to out [outs]. */
static inline void PREFIX_linear(const float* in, float* out, const float* weight, const float* bias, int ins,
                                 int outs) {
  for (int o = 0; o < outs; ++o, weight += ins) {
    float sum = bias[o];
    for (int i = 0; i < ins; ++i) sum += weight[i] * in[i];
    out[o] = sum;
  }
}

/* Maximum over windows; y and x hold first and end index of the window of each output. */
static inline void PREFIX_max_pool(const float* in, float* out, const PREFIX_index* y, const PREFIX_index* x,
                                   int channels, int height, int width, int rows, int columns, int dilation_y,
                                   int dilation_x) {
  for (int c = 0; c < channels; ++c, in += height * width) {
    for (int row = 0; row < rows; ++row) {
      for (int column = 0; column < columns; ++column) {
        float largest = -FLT_MAX;
        for (int i = y[2 * row]; i < y[2 * row + 1]; i += dilation_y) {
          for (int j = x[2 * column]; j < x[2 * column + 1]; j += dilation_x) {
            if (in[i * width + j] > largest) largest = in[i * width + j];
          }
        }
        *out++ = largest;
      }
    }
  }
}

/* Sum over windows, multiplied by one factor for the row and one for the column; y and x are as in max_pool. */
static inline void PREFIX_avg_pool(const float* in, float* out, const PREFIX_index* y, const PREFIX_index* x,
                                   const float* factor_y, const float* factor_x, int channels, int height, int width,
                                   int rows, int columns) {
  for (int c = 0; c < channels; ++c, in += height * width) {
    for (int row = 0; row < rows; ++row) {
      for (int column = 0; column < columns; ++column) {
        float sum = 0;
        for (int i = y[2 * row]; i < y[2 * row + 1]; ++i) {
          for (int j = x[2 * column]; j < x[2 * column + 1]; ++j) sum += in[i * width + j];
        }
        *out++ = sum * factor_y[row] * factor_x[column];
      }
    }
  }
}

/* Elements in another order; a negative sum of the indices is a zero. */
static inline void PREFIX_gather(const float* in, float* out, const PREFIX_index* a, const PREFIX_index* b,
                                 const PREFIX_index* c, const PREFIX_index* d, int as, int bs, int cs, int ds) {
  for (int i = 0; i < as; ++i) {
    for (int j = 0; j < bs; ++j) {
      for (int k = 0; k < cs; ++k) {
        for (int l = 0; l < ds; ++l) {
          const int index = a[i] + b[j] + c[k] + d[l];
          *out++ = index < 0 ? 0 : in[index];
        }
      }
    }
  }
}

static inline void PREFIX_copy(const float* in, float* out, int size) {
  for (int i = 0; i < size; ++i) out[i] = in[i];
}

static inline void PREFIX_add(float* x, const float* y, int size) {
  for (int i = 0; i < size; ++i) x[i] += y[i];
}

static inline void PREFIX_multiply(float* x, const float* y, int size) {
  for (int i = 0; i < size; ++i) x[i] *= y[i];
}

/* x * scale + shift; each scale belongs to `inner` adjacent elements. */
static inline void PREFIX_affine(float* x, const float* scale, const float* shift, int size, int inner, int count) {
  for (int i = 0; i < size; ++i) {
    const int at = i / inner % count;
    x[i] = x[i] * scale[at] + shift[at];
  }
}

/* Normalization of each group of adjacent elements to mean 0 and variance 1. */
static inline void PREFIX_standardize(float* x, int groups, int size, float eps) {
  for (int group = 0; group < groups; ++group, x += size) {
    float mean = 0, variance = 0;
    for (int i = 0; i < size; ++i) mean += x[i] / (float)size;
    for (int i = 0; i < size; ++i) variance += (x[i] - mean) * (x[i] - mean) / (float)size;
    const float scale = 1 / sqrtf(variance + eps);
    for (int i = 0; i < size; ++i) x[i] = (x[i] - mean) * scale;
  }
}

/* Softmax over the first dimension of [size][inner]. */
static inline void PREFIX_softmax(float* x, int size, int inner) {
  for (int at = 0; at < inner; ++at, ++x) {
    float largest = -FLT_MAX, sum = 0;
    for (int i = 0; i < size; ++i) largest = fmaxf(largest, x[i * inner]);
    for (int i = 0; i < size; ++i) sum += x[i * inner] = expf(x[i * inner] - largest);
    for (int i = 0; i < size; ++i) x[i * inner] /= sum;
  }
}

/* Logarithm of the softmax over the first dimension of [size][inner]. */
static inline void PREFIX_log_softmax(float* x, int size, int inner) {
  for (int at = 0; at < inner; ++at, ++x) {
    float largest = -FLT_MAX, sum = 0;
    for (int i = 0; i < size; ++i) largest = fmaxf(largest, x[i * inner]);
    for (int i = 0; i < size; ++i) sum += expf(x[i * inner] - largest);
    for (int i = 0; i < size; ++i) x[i * inner] = x[i * inner] - largest - logf(sum);
  }
}

static inline void PREFIX_relu(float* x, int size) {
  for (int i = 0; i < size; ++i) {
    if (x[i] < 0) x[i] = 0;
  }
}

static inline void PREFIX_relu6(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = fminf(fmaxf(x[i], 0), 6);
}

static inline void PREFIX_leaky_relu(float* x, int size, float slope) {
  for (int i = 0; i < size; ++i) {
    if (x[i] < 0) x[i] *= slope;
  }
}

/* Leaky ReLU; each slope belongs to `inner` adjacent elements. */
static inline void PREFIX_prelu(float* x, const float* slope, int size, int inner, int count) {
  for (int i = 0; i < size; ++i) {
    if (x[i] < 0) x[i] *= slope[i / inner % count];
  }
}

static inline void PREFIX_elu(float* x, int size, float alpha) {
  for (int i = 0; i < size; ++i) {
    if (x[i] < 0) x[i] = alpha * expm1f(x[i]);
  }
}

static inline void PREFIX_tanh(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = tanhf(x[i]);
}

static inline void PREFIX_sigmoid(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = 1 / (1 + expf(-x[i]));
}

static inline void PREFIX_silu(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = x[i] / (1 + expf(-x[i]));
}

static inline void PREFIX_gelu(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = 0.5f * x[i] * (1 + erff(x[i] * 0.70710678f));
}

static inline void PREFIX_gelu_tanh(float* x, int size) {
  for (int i = 0; i < size; ++i) {
    x[i] = 0.5f * x[i] * (1 + tanhf(0.79788456f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
  }
}

static inline void PREFIX_hardswish(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = x[i] * fminf(fmaxf(x[i] + 3, 0), 6) / 6;
}

static inline void PREFIX_mish(float* x, int size) {
  for (int i = 0; i < size; ++i) {
    const float softplus = x[i] > 20 ? x[i] : log1pf(expf(x[i]));
    x[i] *= tanhf(softplus);
  }
}

static inline void PREFIX_softplus(float* x, int size, float beta, float threshold) {
  for (int i = 0; i < size; ++i) {
    if (beta * x[i] <= threshold) x[i] = log1pf(expf(beta * x[i])) / beta;
  }
}

static inline void PREFIX_reciprocal(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = 1 / x[i];
}

static inline void PREFIX_scale_shift(float* x, int size, float scale, float shift) {
  for (int i = 0; i < size; ++i) x[i] = x[i] * scale + shift;
}
