#include "mnistcnn/engine/lanes/ops/batch_linear_op.h"

#include "mnistcnn/engine/lanes/product.h"

namespace mnistcnn::engine::lanes {
namespace {

constexpr std::int64_t kRowsPerPiece = 48;  // a multiple of the tiles' heights

std::size_t index(int use) { return static_cast<std::size_t>(use); }

int pieces_of(std::int64_t rows) { return static_cast<int>((rows + kRowsPerPiece - 1) / kRowsPerPiece); }

}  // namespace

BatchLinearOp::BatchLinearOp(Source source, Value* output, int weight, int bias)
    : Op({Input{source.value}}), source_(source), output_(output), weight_(weight), bias_(bias) {}

Needs BatchLinearOp::needs() const {
  Needs needs;
  needs.input_scratch = inputs() * kLanes;
  needs.temporary = inputs() * kLanes;
  needs.batch = (2 * inputs() + 2 * outputs() + whole_vectors(inputs())) * kLanes;
  return needs;
}

float* BatchLinearOp::matrix(const Run& run, Matrix which) const {
  const std::int64_t sizes[] = {inputs(), outputs(), inputs(), outputs()};
  std::int64_t rows = 0;
  for (int i = 0; i < which; ++i) rows += sizes[i];
  return run.batch_memory + (places_.batch + rows * kLanes) * run.batch_blocks;
}

void BatchLinearOp::collect(const BlockRun& at, const float* from, Matrix to, std::int64_t count) const {
  float* const target = matrix(at.run, to) + at.block * kLanes;
  for (std::int64_t i = 0; i < count; ++i) std::copy_n(from + i * kLanes, kLanes, target + i * row(at.run));
}

void BatchLinearOp::distribute(const BlockRun& at, Matrix from, float* to, std::int64_t count) const {
  const float* source = matrix(at.run, from) + at.block * kLanes;
  for (std::int64_t i = 0; i < count; ++i) std::copy_n(source + i * row(at.run), kLanes, to + i * kLanes);
}

void BatchLinearOp::input_of(const BlockRun& at) const {
  const float* x = source_.lazy ? thread_memory(at, places_.input_scratch) : at.view(source_.value->activation).data;
  if (source_.lazy) source_.lazy->compute(at, dense(thread_memory(at, places_.input_scratch), source_.extent()));
  collect(at, x, kX, inputs());
}

void BatchLinearOp::output_rows(const Run& run, int piece) const {
  const std::int64_t first = piece * kRowsPerPiece, count = std::min(kRowsPerPiece, outputs() - first);
  float* const y = matrix(run, kY) + first * row(run);
  const std::int64_t images = std::int64_t{run.blocks} * kLanes;
  for (std::int64_t o = 0; o < count; ++o)
    std::fill_n(y + o * row(run), images, bias_ >= 0 ? run.values[index(bias_)][first + o] : 0.0f);
  multiply(*run.kernels, {count, images, inputs(), run.values[index(weight_)] + first * inputs(), inputs(), 1,
                          matrix(run, kX), row(run), y, row(run), true});
}

void BatchLinearOp::input_gradient_rows(const Run& run, int piece) const {
  const std::int64_t first = piece * kRowsPerPiece, count = std::min(kRowsPerPiece, inputs() - first);
  const std::int64_t images = std::int64_t{run.blocks} * kLanes;
  multiply(*run.kernels, {count, images, outputs(), run.values[index(weight_)] + first, 1, inputs(),
                          matrix(run, kGradientY), row(run), matrix(run, kGradientX) + first * row(run), row(run)});
}

void BatchLinearOp::weight_gradient_rows(const Run& run, int piece) const {
  const std::int64_t first = piece * kRowsPerPiece, count = std::min(kRowsPerPiece, outputs() - first);
  const std::int64_t images = std::int64_t{run.blocks} * kLanes;
  const float* d = matrix(run, kGradientY) + first * row(run);
  multiply(*run.kernels, {count, inputs(), images, d, row(run), 1, matrix(run, kTransposedX), whole_vectors(inputs()),
                          run.gradients[index(weight_)] + first * inputs(), inputs()});
  for (std::int64_t o = 0; bias_ >= 0 && o < count; ++o) {
    double sum = 0;
    for (std::int64_t i = 0; i < images; ++i) sum += d[o * row(run) + i];
    run.gradients[index(bias_)][first + o] = static_cast<float>(sum);
  }
}

void BatchLinearOp::add_forward(Program& program, bool training) {
  program.blocks([this](const BlockRun& at) { input_of(at); });
  const int pieces = pieces_of(outputs());
  program.tiles([pieces](const Run&) { return pieces; },
                [this](const Run& run, int piece, int) { output_rows(run, piece); });
  program.blocks([this](const BlockRun& at) { distribute(at, kY, at.view(output_->activation).data, outputs()); });
  static_cast<void>(training);
}

void BatchLinearOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) {
    collect(at, at.view(output_->gradient).data, kGradientY, outputs());
    // Rows of images for the weights' gradients: [blocks * 16][inputs]
    const float* x = matrix(at.run, kX) + at.block * kLanes;
    const std::int64_t columns = whole_vectors(inputs()), fours = inputs() / 4 * 4;
    float* const transposed = matrix(at.run, kTransposedX) + at.block * kLanes * columns;
    at.run.kernels->transpose(x, row(at.run), static_cast<int>(fours), kLanes, transposed, columns);
    for (std::int64_t f = fours; f < inputs(); ++f)
      for (int i = 0; i < kLanes; ++i) transposed[i * columns + f] = x[f * row(at.run) + i];
  });
  const int weights = pieces_of(outputs()), gradients = pieces_of(inputs());
  program.tiles([=, this](const Run& run) { return weights + (input().wants_gradient(run) ? gradients : 0); },
                [=, this](const Run& run, int piece, int thread) {
                  if (piece >= weights) return input_gradient_rows(run, piece - weights);
                  const Timed timed(run, thread, work_of(number(), Pass::kWeightGradients));
                  weight_gradient_rows(run, piece);
                });
  program.blocks([this](const BlockRun& at) {
    if (!input().wants_gradient(at.run)) return;
    give_gradient(at, input(), places_.temporary,
                  [&](View target) { distribute(at, kGradientX, target.data, inputs()); });
  });
}

}  // namespace mnistcnn::engine::lanes
