#include "mnistcnn/engine/lanes/lanes_engine.h"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "mnistcnn/common/cores.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/common/thread_team.h"
#include "mnistcnn/engine/lanes/arena.h"
#include "mnistcnn/engine/lanes/compiler.h"
#include "mnistcnn/engine/lanes/executor.h"
#include "mnistcnn/engine/lanes/float_rows.h"
#include "mnistcnn/engine/lanes/image_memory.h"
#include "mnistcnn/engine/lanes/isa.h"
#include "mnistcnn/engine/lanes/stopwatch.h"

namespace mnistcnn::engine::lanes {
namespace {

constexpr std::int64_t kPackingPerUnit = 4096, kReducePerUnit = 4096;  // floats: enough to be worth a claim
constexpr int kMostPartials = 32;                                      // copies of the parameters' gradients
constexpr std::int64_t kPredictBlocks = 64;

// Puts the message together only when it is needed: some of these are asked for every label of every batch.
template <class... Parts>
void require(bool condition, const Parts&... message) {
  if (!condition) throw std::invalid_argument(common::text(message...));
}

}  // namespace

std::optional<std::string> refusal(const network::Graph& graph, const network::Analysis&) { return unsupported(graph); }

class LanesEngine::Implementation {
 public:
  Implementation(network::Graph graph, int threads)
      : graph_(std::move(graph)),
        analysis_(network::analyse(graph_)),
        team_(threads > 0 ? threads : common::available_cores()) {
    require(threads >= 0, "threads=", threads, " must not be negative; 0 means all cores");
    if (const auto reason = refusal(graph_, analysis_)) throw std::invalid_argument(*reason);
    run_.kernels = &kernels();
    plan_ = compile(graph_, analysis_, *run_.kernels);
    for (const Plan::Use& use : plan_.uses)
      if (!use.writes_gradient)
        shared_gradients_.resize(shared_gradients_.size() + static_cast<std::size_t>(use.count));
    group_packing();
    build_programs();
  }

  std::int64_t output_size() const { return plan_.output->extent.elements(); }
  std::size_t arena_bytes() const { return arena_.bytes(); }
  std::size_t arena_bytes_of_step(std::int64_t images) const {
    Run run;
    run.cut(images, kMostPartials);
    const std::int64_t slots = step_->memory_per_thread() ? team_.threads() : run.blocks;
    return Arena::bytes_of(sum(region_sizes(slots, run.blocks, run.partial_groups())));
  }
  std::string_view instruction_set() const { return run_.kernels->name; }
  int threads() const { return team_.threads(); }

  void forward(const Memory& memory, const float* images, std::int64_t count, Mode mode, Randomness randomness,
               bool image_gradients, float* outputs, common::ThreadTeam::Lender* lender) {
    const Bound bound(*this, memory);
    begin(count, mode == Mode::kTrain, randomness, false);
    run_.image_gradients = image_gradients;
    float_images_ = images;
    outputs_ = outputs;
    (mode == Mode::kTrain ? forward_training_ : forward_evaluation_)->execute(run_, team_, lender);
    ready_for_backward_ = true;
  }

  void backward(const Memory& memory, const float* output_gradients, float* image_gradients,
                common::ThreadTeam::Lender* lender) {
    if (!ready_for_backward_) throw std::invalid_argument("backward needs a forward before it");
    require((image_gradients != nullptr) == run_.image_gradients,
            "image gradients are computed if, and only if, the forward was told to keep them");
    ready_for_backward_ = false;  // gradients will lie where values did
    const Bound bound(*this, memory);
    output_gradients_ = output_gradients;
    image_gradients_ = image_gradients;
    backward_->execute(run_, team_, lender);
  }

  void predict(const Memory& memory, const ImageBatch& batch, float* outputs) {
    const Bound bound(*this, memory);
    const std::int64_t count = static_cast<std::int64_t>(batch.indices.size());
    const bool whole = has_untracked_norm();  // statistics of the whole batch
    const std::int64_t most = whole ? count : kPredictBlocks * kLanes;
    for (std::int64_t first = 0; first < count; first += most) {
      const std::int64_t images = std::min(most, count - first);
      ImageBatch part = batch;
      part.indices = batch.indices.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(images));
      begin(part, false, {}, predict_->memory_per_thread());
      outputs_ = outputs + first * output_size();
      predict_->execute(run_, team_);
    }
  }

  StepResult step(const Memory& memory, const ImageBatch& batch, std::span<const std::int64_t> labels, const Loss& loss,
                  Randomness randomness) {
    check_step(batch, labels, loss);
    const Bound bound(*this, memory);
    const Stopwatch::Clock::time_point start = Stopwatch::Clock::now();
    begin(batch, true, randomness, step_->memory_per_thread());
    labels_ = labels;
    loss_ = loss;
    results_.assign(static_cast<std::size_t>(run_.blocks), {});
    run_.stopwatch = stopwatch_.get();
    step_->execute(run_, team_);
    run_.stopwatch = nullptr;
    if (stopwatch_) stopwatch_->add_step(Stopwatch::Clock::now() - start);
    StepResult total;
    for (const StepResult& each : results_) {
      total.loss_sum += each.loss_sum;
      total.correct += each.correct;
    }
    return total;
  }

  void start_profile() {
    stopwatch_ = std::make_unique<Stopwatch>(team_.threads(), static_cast<int>(plan_.ops.size()));
  }

  StepProfile stop_profile() {
    if (!stopwatch_) throw std::logic_error("there is no profile to stop");
    StepProfile profile = read(*std::exchange(stopwatch_, nullptr), plan_);
    profile.instruction_set = run_.kernels->name;
    profile.threads = team_.threads();
    return profile;
  }

 private:
  // Knows the tensors of the model for the duration of a call.
  class Bound {
   public:
    Bound(Implementation& engine, const Memory& memory) : engine_(engine) { engine_.bind(memory); }
    ~Bound() { engine_.release(); }
    Bound(const Bound&) = delete;
    Bound& operator=(const Bound&) = delete;

   private:
    Implementation& engine_;
  };

  void bind(const Memory& memory) {
    require(memory.values.size() == analysis_.parameters.size() &&
                (memory.gradients.empty() || memory.gradients.size() == memory.values.size()),
            "the network has ", analysis_.parameters.size(), " parameters, got ", memory.values.size(), " values and ",
            memory.gradients.size(), " gradients");
    require(memory.buffers.empty() || (memory.buffers.size() == analysis_.buffers.size() &&
                                       memory.counters.size() == analysis_.counters.size()),
            "the network has ", analysis_.buffers.size(), " buffers and ", analysis_.counters.size(), " counters, got ",
            memory.buffers.size(), " and ", memory.counters.size());
    float* shared = shared_gradients_.data();
    for (const Plan::Use& use : plan_.uses) {
      const auto parameter = static_cast<std::size_t>(use.parameter);
      run_.values.push_back(memory.values[parameter]);
      if (memory.gradients.empty()) continue;
      run_.gradients.push_back(use.writes_gradient ? memory.gradients[parameter] : shared);
      if (!use.writes_gradient) shared += use.count;
    }
    run_.buffers = memory.buffers;
    run_.counters = memory.counters;
    if (memory.gradients.empty()) return;
    for (const int parameter : plan_.unused)
      std::fill_n(memory.gradients[static_cast<std::size_t>(parameter)],
                  analysis_.parameters[static_cast<std::size_t>(parameter)].count, 0.0f);
  }

  void release() {
    run_.values.clear();
    run_.gradients.clear();
    run_.buffers = {};
    run_.counters = {};
    batch_ = {};
    labels_ = {};
    outputs_ = image_gradients_ = nullptr;
    float_images_ = output_gradients_ = nullptr;
  }

  // ---- what is computed in which order
  void build_programs() {
    predict_ = make_program([&](Program& program) {
      program.blocks([this](const BlockRun& at) { gather(at); });
      for (const auto& op : plan_.ops) op->add_forward(program, false);
      program.blocks([this](const BlockRun& at) { write_outputs(at); });
    });
    for (const bool training : {false, true})
      (training ? forward_training_ : forward_evaluation_) = make_program([&](Program& program) {
        program.blocks([this](const BlockRun& at) { read_images(at); });
        for (const auto& op : plan_.ops) op->add_forward(program, training);
        program.blocks([this](const BlockRun& at) { write_outputs(at); });
      });
    Program backward;
    backward.blocks([this](const BlockRun& at) { read_output_gradients(at); });
    add_backward(backward);
    backward.blocks([this](const BlockRun& at) { write_image_gradients(at); });
    add_reduction(backward);
    backward_ = std::make_unique<Executor>(std::move(backward));
    backward_->share_memory_of_blocks();
    step_ = make_program([&](Program& program) {
      program.count_for({kGather});
      program.blocks([this](const BlockRun& at) { gather(at); });
      for (const auto& op : plan_.ops) {
        program.count_for(work_of(op->number(), Pass::kForward));
        op->add_forward(program, true);
      }
      program.count_for({kLoss});
      program.blocks([this](const BlockRun& at) { compute_loss(at); });
      add_backward(program);
      add_reduction(program);
    });
    forward_training_->share_memory_of_blocks();
    forward_evaluation_->share_memory_of_blocks();
  }

  std::unique_ptr<Executor> make_program(const auto& fill) {
    Program program;
    program.count_for({kPacking});
    if (!packing_.empty())
      program.tiles([this](const Run&) { return static_cast<int>(packing_.size()); },
                    [this](const Run& run, int unit, int) {
                      for (const auto& [op, job] : packing_[static_cast<std::size_t>(unit)]) op->pack(run, job);
                    });
    fill(program);
    return std::make_unique<Executor>(std::move(program));
  }

  void add_backward(Program& program) {
    for (std::size_t i = plan_.ops.size(); i-- > 0;) {
      program.count_for(work_of(static_cast<int>(i), Pass::kInputGradients));
      plan_.ops[i]->add_backward(program);
    }
  }

  void group_packing() {
    std::int64_t work = kPackingPerUnit;
    for (const auto& op : plan_.ops)
      for (int job = 0; job < op->packing_jobs(); ++job) {
        if (work >= kPackingPerUnit) packing_.push_back({}), work = 0;
        packing_.back().push_back({op.get(), job});
        work += op->packing_work();
      }
  }

  // Sums of the groups' partial gradients, by a binary tree over the groups.
  void add_reduction(Program& program) {
    for (const Plan::Reduced& each : plan_.reduced)
      for (std::int64_t at = 0; at < each.count; at += kReducePerUnit)
        pieces_.push_back({each.use, at, std::min(kReducePerUnit, each.count - at), each.partial + at});
    if (pieces_.empty() || program.parts().empty()) return add_shared_gradients(program);
    // Small pieces together.
    std::vector<std::vector<Plan::Reduced>> units;
    std::int64_t work = kReducePerUnit;
    for (const Plan::Reduced& each : pieces_) {
      if (work >= kReducePerUnit) units.push_back({}), work = 0;
      units.back().push_back(each);
      work += each.count;
    }
    pieces_.clear();
    const int count = static_cast<int>(units.size());
    program.count_for({kReduction});
    program.tiles([count](const Run&) { return count; },
                  [this, units = std::move(units)](const Run&, int unit, int) {
                    for (const Plan::Reduced& each : units[static_cast<std::size_t>(unit)]) reduce(each);
                  });
    add_shared_gradients(program);
  }

  // All uses of a shared parameter, the last one first.
  void add_shared_gradients(Program& program) {
    if (shared_gradients_.empty()) return;
    program.once([this](const Run& run) {
      for (std::size_t use = plan_.uses.size(); use-- > 0;) {
        if (plan_.uses[use].writes_gradient) continue;
        std::size_t last = plan_.uses.size() - 1;
        while (plan_.uses[last].parameter != plan_.uses[use].parameter) --last;
        for (std::int64_t i = 0; i < plan_.uses[use].count; ++i) run.gradients[last][i] += run.gradients[use][i];
      }
    });
  }

  void reduce(const Plan::Reduced& piece) {
    const int groups = run_.partial_groups();
    const auto partial = [&](int group) { return run_.partials + group * run_.partial_size + piece.partial; };
    for (int distance = 1; distance < groups; distance *= 2)
      for (int group = 0; group + distance < groups; group += 2 * distance)
        run_.kernels->add(partial(group + distance), partial(group), piece.count);
    std::copy_n(partial(0), piece.count, run_.gradients[static_cast<std::size_t>(piece.use)] + piece.first);
  }

  // ---- memory
  void begin(const ImageBatch& batch, bool training, Randomness randomness, bool memory_per_thread) {
    if (batch.source != nullptr) made_.reserve(team_.threads(), plan_.image->extent.elements(), *batch.source);
    batch_ = batch;
    begin(static_cast<std::int64_t>(batch.indices.size()), training, randomness, memory_per_thread);
  }

  // Floats: values of blocks, matrices of the batch, scratch of threads, packed weights, partial gradients.
  using Sizes = std::array<std::int64_t, 5>;
  static std::int64_t sum(const Sizes& sizes) { return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}); }
  Sizes region_sizes(std::int64_t slots, std::int64_t batch_blocks, std::int64_t partials) const {
    return {slots * plan_.block_size, plan_.batch_size * batch_blocks, team_.threads() * plan_.thread_size,
            plan_.packed_size, partials * plan_.partial_size};
  }

  void begin(std::int64_t count, bool training, Randomness randomness, bool memory_per_thread) {
    require(count > 0, "a batch needs at least one image");
    check_norms(count, training);
    ready_for_backward_ = false;
    run_.cut(count, kMostPartials);
    run_.training = training;
    run_.image_gradients = false;
    run_.randomness = randomness;
    reserve(memory_per_thread ? team_.threads() : run_.blocks);
    for (const auto& op : plan_.ops) op->prepare(run_);
  }

  void reserve(int slots) {
    const std::int64_t partials = run_.partial_groups();
    const std::int64_t batch_blocks = plan_.batch_size > 0 ? run_.blocks : 0;
    const bool enough =
        arena_.data() != nullptr && slots <= slots_ && partials <= partials_ && batch_blocks <= run_.batch_blocks;
    if (enough) return;
    slots_ = std::max(slots_, slots);
    partials_ = std::max(partials_, partials);
    run_.batch_blocks = std::max(run_.batch_blocks, batch_blocks);
    run_.block_size = plan_.block_size;
    run_.thread_size = plan_.thread_size;
    run_.partial_size = plan_.partial_size;
    const Sizes sizes = region_sizes(slots_, run_.batch_blocks, partials_);
    arena_.resize(sum(sizes));
    float* memory = arena_.data();
    float** const regions[] = {&run_.block_memory, &run_.batch_memory, &run_.thread_memory, &run_.packed,
                               &run_.partials};
    for (std::size_t i = 0; i < std::size(sizes); ++i) {
      *regions[i] = memory;
      memory += sizes[i];
    }
  }

  // ---- checks
  bool has_untracked_norm() const {
    return std::any_of(plan_.batch_norms.begin(), plan_.batch_norms.end(),
                       [](const auto& norm) { return !norm.tracked; });
  }

  void check_norms(std::int64_t count, bool training) const {
    for (const Plan::BatchNorm& norm : plan_.batch_norms)
      require(count * norm.positions > 1 || !(training || !norm.tracked), "node '", norm.name,
              "': batch norm needs more than one value per channel, but the batch has ", count, " image and the map ",
              norm.positions, " position");
  }

  void check_step(const ImageBatch& batch, std::span<const std::int64_t> labels, const Loss& loss) const {
    const std::int64_t classes = plan_.output->extent.channels;
    require(plan_.output->extent.positions() == 1, "a loss needs one number per class, but the output is a map of ",
            plan_.output->extent.rows, " x ", plan_.output->extent.columns);
    require(labels.size() == batch.indices.size(), labels.size(), " labels don't fit ", batch.indices.size(),
            " images");
    require(loss.label_smoothing >= 0 && loss.label_smoothing <= 1, "label_smoothing ", loss.label_smoothing,
            " must lie between 0 and 1");
    for (const std::int64_t label : labels)
      require(label >= 0 && label < classes, "label ", label, " is not one of the ", classes, " classes");
  }

  // ---- ways in and out
  // Lanes without an image of their own repeat the block's first, so that they hold sane numbers; nobody reads them.
  std::int64_t image_of(const BlockRun& at, int lane) const {
    return std::int64_t{at.block} * kLanes + (lane < at.live() ? lane : 0);
  }

  void gather(const BlockRun& at) {
    const Extent& extent = plan_.image->extent;
    const View view = at.view(plan_.image->activation);
    GatherTile t{};
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t index = batch_.indices[static_cast<std::size_t>(image_of(at, lane))];
      if (batch_.source == nullptr)
        t.images[lane] = batch_.images + index * extent.elements();
      else
        t.images[lane] = lane < at.live() ? made_.read(*batch_.source, index, lane, at.thread) : t.images[0];
    }
    t.channels = static_cast<int>(extent.channels);
    t.rows = static_cast<int>(extent.rows);
    t.columns = static_cast<int>(extent.columns);
    t.scale = batch_.scale.data();
    t.shift = batch_.shift.data();
    t.out = view.data;
    t.out_plane = view.plane;
    t.out_row = view.row;
    run_.kernels->gather(t);
  }

  // Where a block's images begin in an array of rows.
  static std::int64_t first_of(const BlockRun& at, const Extent& extent) {
    return std::int64_t{at.block} * kLanes * extent.elements();
  }

  void read_images(const BlockRun& at) const {
    const Extent& extent = plan_.image->extent;
    rows_to_lanes(*run_.kernels, float_images_ + first_of(at, extent), at.live(), extent,
                  at.view(plan_.image->activation));
  }
  void write_outputs(const BlockRun& at) const {
    const Extent& extent = plan_.output->extent;
    lanes_to_rows(*run_.kernels, at.view(plan_.output->activation), extent, at.live(), outputs_ + first_of(at, extent));
  }
  void read_output_gradients(const BlockRun& at) const {
    float* const to = at.view(plan_.output->gradient).data;
    for (int lane = 0; lane < kLanes; ++lane) {
      const float* row = output_gradients_ + image_of(at, lane) * output_size();
      for (std::int64_t i = 0; i < output_size(); ++i) to[i * kLanes + lane] = lane < at.live() ? row[i] : 0.0f;
    }
  }
  void write_image_gradients(const BlockRun& at) const {
    if (image_gradients_ == nullptr) return;
    const Extent& extent = plan_.image->extent;
    lanes_to_rows(*run_.kernels, at.view(plan_.image->gradient), extent, at.live(),
                  image_gradients_ + first_of(at, extent));
  }

  void compute_loss(const BlockRun& at) {
    alignas(64) std::array<std::int32_t, kLanes> labels;
    for (int lane = 0; lane < kLanes; ++lane)
      labels[static_cast<std::size_t>(lane)] =
          lane < at.live() ? static_cast<std::int32_t>(labels_[static_cast<std::size_t>(image_of(at, lane))]) : -1;
    LossTile t{};
    t.outputs = at.view(plan_.output->activation).data;
    t.class_step = kLanes;
    t.classes = static_cast<int>(plan_.output->extent.channels);
    t.labels = labels.data();
    t.smoothing = static_cast<float>(loss_.label_smoothing);
    t.scale = static_cast<float>(1.0 / static_cast<double>(run_.images));
    t.gradient = at.view(plan_.output->gradient).data;
    t.gradient_step = kLanes;
    (loss_.kind == LossKind::kCrossEntropy ? run_.kernels->cross_entropy : run_.kernels->negative_log_likelihood)(t);
    StepResult& result = results_[static_cast<std::size_t>(at.block)];
    for (int lane = 0; lane < kLanes; ++lane) {
      result.loss_sum += t.loss[lane];
      result.correct += t.correct[lane];
    }
  }

  network::Graph graph_;
  network::Analysis analysis_;
  common::ThreadTeam team_;
  Run run_;
  Plan plan_;
  Arena arena_;
  ImageMemory made_;
  int slots_ = 0;
  std::int64_t partials_ = 0;
  bool ready_for_backward_ = false;
  std::unique_ptr<Stopwatch> stopwatch_;
  std::vector<std::vector<std::pair<const Op*, int>>> packing_;
  std::vector<Plan::Reduced> pieces_;
  std::vector<float> shared_gradients_;  // of all uses of shared parameters but the last
  std::unique_ptr<Executor> predict_, forward_training_, forward_evaluation_, backward_, step_;

  // Of the call that is being served
  ImageBatch batch_{};
  std::span<const std::int64_t> labels_;
  Loss loss_;
  std::vector<StepResult> results_;
  const float* float_images_ = nullptr;
  const float* output_gradients_ = nullptr;
  float* outputs_ = nullptr;
  float* image_gradients_ = nullptr;
};

LanesEngine::LanesEngine(network::Graph graph, int threads)
    : implementation_(std::make_unique<Implementation>(std::move(graph), threads)) {}
LanesEngine::~LanesEngine() = default;

std::int64_t LanesEngine::output_size() const { return implementation_->output_size(); }
void LanesEngine::forward(const Memory& memory, const float* images, std::int64_t count, Mode mode,
                          Randomness randomness, bool image_gradients, float* outputs,
                          common::ThreadTeam::Lender* lender) {
  implementation_->forward(memory, images, count, mode, randomness, image_gradients, outputs, lender);
}
void LanesEngine::backward(const Memory& memory, const float* output_gradients, float* image_gradients,
                           common::ThreadTeam::Lender* lender) {
  implementation_->backward(memory, output_gradients, image_gradients, lender);
}
void LanesEngine::predict(const Memory& memory, const ImageBatch& batch, float* outputs) {
  implementation_->predict(memory, batch, outputs);
}
StepResult LanesEngine::step(const Memory& memory, const ImageBatch& batch, std::span<const std::int64_t> labels,
                             const Loss& loss, Randomness randomness) {
  return implementation_->step(memory, batch, labels, loss, randomness);
}
std::size_t LanesEngine::arena_bytes() const { return implementation_->arena_bytes(); }
std::string_view LanesEngine::instruction_set() const { return implementation_->instruction_set(); }
int LanesEngine::threads() const { return implementation_->threads(); }
std::size_t LanesEngine::arena_bytes_of_step(std::int64_t images) const {
  return implementation_->arena_bytes_of_step(images);
}
void LanesEngine::start_profile() { implementation_->start_profile(); }
StepProfile LanesEngine::stop_profile() { return implementation_->stop_profile(); }

}  // namespace mnistcnn::engine::lanes
