#include "mnistcnn/engine/lanes/runtime/stopwatch.h"

#include <thread>

#include "lanes/lanes_fixture.h"

// Time measurement, profiles of training steps, and the prediction of memory sizes.
namespace mnistcnn::engine::lanes::testing {
namespace {

void sleep(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

TEST(Stopwatch, AttributesNestedTimeToTheInnerCategoryOnly) {
  Stopwatch stopwatch(2, 3);
  const TimeCategory outer = time_category(0, Pass::kForward), inner = time_category(2, Pass::kWeightGradients);
  for (const int thread : {0, 1, Stopwatch::kSerialStage}) {
    const TimeCategory before = stopwatch.switch_to(thread, outer);
    EXPECT_EQ(before.owner, kIdle);
    sleep(2);
    EXPECT_EQ(stopwatch.switch_to(thread, inner).owner, outer.owner);
    sleep(4);
    stopwatch.switch_to(thread, outer);
    stopwatch.switch_to(thread, before);
  }
  EXPECT_GE(stopwatch.seconds(outer), 3 * 0.002);
  EXPECT_GE(stopwatch.seconds(inner), 3 * 0.004);
  EXPECT_EQ(stopwatch.seconds(time_category(1, Pass::kForward)), 0);
  EXPECT_EQ(stopwatch.seconds(time_category(2, Pass::kForward)), 0);
}

network::Graph small_network() {
  network::MaxPool2d pool;
  pool.kernel = pool.stride = {2, 2};
  return sequential({1, 12, 12}, {convolution(6, 3, 1), network::BatchNorm2d{}, network::ReLU{}, pool,
                                  convolution(8, 3), network::Tanh{}, network::Flatten{}, network::Linear{10, true}});
}

StepResult one_step(Model& model, int count) {
  const std::vector<std::uint8_t> images(static_cast<std::size_t>(count) * 144, 100);
  const std::vector<float> scale(1, 1 / 128.0f), shift(1, -1);
  std::vector<std::int64_t> indices, labels;
  for (int i = 0; i < count; ++i) indices.push_back(i), labels.push_back(i % 10);
  return model.step({images.data(), indices, scale, shift}, labels, {}, {});
}

TEST(Stopwatch, ProfileHasAllComputedNodesAndAtMostTheElapsedTime) {
  for (const int threads : {1, 3}) {
    Model model(small_network(), threads);
    model.engine->start_profile();
    for (int i = 0; i < 5; ++i) one_step(model, 100);
    const StepProfile profile = model.engine->stop_profile();
    EXPECT_EQ(profile.steps, 5);
    EXPECT_EQ(profile.threads, threads);
    std::vector<int> nodes;
    double seconds = 0;
    for (const OperationTime& each : profile.operations) {
      nodes.insert(nodes.end(), each.nodes.begin(), each.nodes.end());
      EXPECT_GT(each.forward, 0);
      seconds += each.forward + each.input_gradients + each.weight_gradients;
    }
    for (const OverheadTime& each : profile.overheads) seconds += each.seconds;
    EXPECT_EQ(nodes, (std::vector<int>{0, 1, 2, 3, 4, 5, 7}));  // flatten computes nothing
    EXPECT_FALSE(profile.operations[0].gives_input_gradients);
    EXPECT_TRUE(profile.operations[1].gives_input_gradients);
    EXPECT_GT(profile.operations[0].weight_gradients, 0);
    EXPECT_GT(seconds, 0);
    EXPECT_LE(seconds, profile.seconds * threads);
  }
}

TEST(Stopwatch, ProfilingDoesNotChangeResults) {
  Model profiled(small_network(), 2), unprofiled(small_network(), 2);
  profiled.engine->start_profile();
  EXPECT_EQ(one_step(profiled, 50).loss_sum, one_step(unprofiled, 50).loss_sum);
  EXPECT_EQ(profiled.gradients, unprofiled.gradients);
}

TEST(Stopwatch, StopWithoutStartThrows) {
  Model model(small_network(), 1);
  EXPECT_THROW(model.engine->stop_profile(), std::logic_error);
}

// Return the number of tasks of each phase.
std::vector<int> tasks_of(const StepTasks& step) {
  std::vector<int> tasks;
  int phase = 0;
  for (const TaskTime& each : step) {
    EXPECT_EQ(each.phase, phase);
    EXPECT_GE(each.seconds, 0);
    tasks.resize(static_cast<std::size_t>(phase) + 1);
    each.task == TaskTime::kSerialPart ? ++phase : ++tasks.back();
  }
  return tasks;
}

constexpr char kForced[] = "baseline";  // the number of packing tasks depends on the registers of the instruction set

TEST(TaskRecorder, HasEveryTaskOfEveryStepAndDoesNotChangeResults) {
  const ForcedInstructionSet forced(kForced);
  for (const int threads : {1, 3}) {
    Model recorded(small_network(), threads), unrecorded(small_network(), threads);
    recorded.engine->start_task_times();
    for (int i = 0; i < 2; ++i) EXPECT_EQ(one_step(recorded, 100).loss_sum, one_step(unrecorded, 100).loss_sum);
    const std::vector<StepTasks> steps = recorded.engine->stop_task_times();
    EXPECT_EQ(recorded.gradients, unrecorded.gradients);
    ASSERT_EQ(steps.size(), 2u);
    // Packing; forward to the statistics; to the sums of batch norm's backward; to the image; reduction.
    EXPECT_EQ(tasks_of(steps[0]), (std::vector<int>{2, 7, 7, 7, 2}));
    one_step(recorded, 100);
    EXPECT_THROW(recorded.engine->stop_task_times(), std::logic_error);
  }
}

TEST(TaskRecorder, SeveralThreadsComputeABlockIfThereAreFewerBlocksThanThreads) {
  const ForcedInstructionSet forced(kForced);
  Model model(small_network(), 8);
  model.engine->start_task_times();
  one_step(model, 32);  // two blocks, four parts of each
  const std::vector<StepTasks> steps = model.engine->stop_task_times();
  // Packing; gather; forward of the first layer: convolution, statistics; of the second one: input, convolution; from
  // tanh to its backward; backward of the second layer: input, gradients, sums; of the first one: pointwise,
  // convolution; reduction.
  EXPECT_EQ(tasks_of(steps[0]), (std::vector<int>{2, 2, 8, 8, 8, 8, 2, 8, 8, 8, 8, 8, 2}));
}

TEST(LanesEngine, PredictsTheSizeOfItsArena) {
  network::Graph with_large_linear = small_network();
  with_large_linear.nodes.back().layer = network::Linear{900, true};
  with_large_linear.nodes.push_back({"last", network::Linear{10, true}, {7}});
  for (const network::Graph& graph : {small_network(), with_large_linear})
    for (const int threads : {1, 2})
      for (const int count : {1, 128, 700}) {
        Model model(graph, threads);
        const std::size_t predicted = model.engine->arena_bytes_of_step(count);
        EXPECT_EQ(model.engine->arena_bytes(), 0u);
        one_step(model, count);
        EXPECT_EQ(model.engine->arena_bytes(), predicted) << count << " images, " << threads << " threads";
      }
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
