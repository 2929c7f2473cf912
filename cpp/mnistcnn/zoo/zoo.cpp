#include "mnistcnn/zoo/zoo.h"

#include <algorithm>
#include <stdexcept>

#include "mnistcnn/common/text.h"
#include "mnistcnn/zoo/sources.h"

namespace mnistcnn::zoo {
namespace {

constexpr std::int64_t kSide = 28;  // height and width of MNIST images, in pixels

std::vector<Entry> collect_entries() {
  std::vector<Entry> all;
  for (const auto& source : {assignment7_entries(), era5_entries(), budget_entries(), session7_entries(),
                             recognition_entries(), our_entries()})
    all.insert(all.end(), source.begin(), source.end());
  return all;
}

}  // namespace

std::span<const Entry> entries() {
  static const std::vector<Entry> all = collect_entries();
  return all;
}

const Entry& find(std::string_view name) {
  const auto found = std::ranges::find(entries(), name, &Entry::name);
  if (found != entries().end()) return *found;
  std::string names;
  for (const Entry& entry : entries()) names += common::text(names.empty() ? "" : ", ", entry.name);
  throw std::invalid_argument(common::text("unknown model '", name, "'. Choose from: ", names));
}

network::Graph create(std::string_view name, std::int64_t classes, std::int64_t channels) {
  return sequential_graph({channels, kSide, kSide}, find(name).definition(classes));
}

}  // namespace mnistcnn::zoo
