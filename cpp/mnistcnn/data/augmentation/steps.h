#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

// Descriptions of the augmentation steps; AugmentationPlan implements them. Each struct lists its fields in `visit` and
// the names of its random parameters in `kDrawn`. The Python classes of the same names document the fields and validate
// their values.
namespace mnistcnn::data::augmentation {

inline constexpr std::int64_t kLargestSide = 4096;

struct Size {
  std::int64_t channels = 1, height = 0, width = 0;
  std::int64_t plane() const { return height * width; }
  std::int64_t bytes() const { return channels * plane(); }
  bool operator==(const Size&) const = default;
};

struct Range {
  double low = 0, high = 0;
};

struct Point {
  double x = 0, y = 0;
};

struct PlaneSize {
  std::int64_t height = 0, width = 0;
};

struct Padding {
  std::int64_t left = 0, top = 0, right = 0, bottom = 0;
};

enum class Interpolation { kNearest, kBilinear };

template <class... Names>
constexpr std::array<std::string_view, sizeof...(Names)> names(Names... all) {
  return {std::string_view(all)...};
}

struct Rotation {
  static constexpr std::string_view kName = "Rotation";
  static constexpr auto kDrawn = names("angle");
  Range degrees;
  std::uint8_t fill = 0;
  Interpolation interpolation = Interpolation::kNearest;
  bool expand = false;
  std::optional<Point> center;
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("degrees", self.degrees);
    field("fill", self.fill);
    field("interpolation", self.interpolation);
    field("expand", self.expand);
    field("center", self.center);
    field("p", self.p);
  }
};

struct Affine {
  static constexpr std::string_view kName = "Affine";
  static constexpr auto kDrawn = names("angle", "translate_x", "translate_y", "scale", "shear_x", "shear_y");
  Range degrees;
  Range translate;  // maximum translation, as fractions of width and height
  Range scale{1, 1};
  std::array<double, 4> shear{};  // range along x, range along y, in degrees
  std::uint8_t fill = 0;
  Interpolation interpolation = Interpolation::kNearest;
  std::optional<Point> center;
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("degrees", self.degrees);
    field("translate", self.translate);
    field("scale", self.scale);
    field("shear", self.shear);
    field("fill", self.fill);
    field("interpolation", self.interpolation);
    field("center", self.center);
    field("p", self.p);
  }
};

// Output pixel (x, y) is sampled at ((ax + by + c) / (gx + hy + 1), (dx + ey + f) / (gx + hy + 1)).
struct Perspective {
  static constexpr std::string_view kName = "Perspective";
  static constexpr auto kDrawn = names("a", "b", "c", "d", "e", "f", "g", "h");
  double distortion_scale = 0.5;
  double p = 0.5;
  Interpolation interpolation = Interpolation::kBilinear;
  std::uint8_t fill = 0;
  static void visit(auto& self, auto&& field) {
    field("distortion_scale", self.distortion_scale);
    field("p", self.p);
    field("interpolation", self.interpolation);
    field("fill", self.fill);
  }
};

struct ElasticDistortion {
  static constexpr std::string_view kName = "ElasticDistortion";
  static constexpr auto kDrawn = names();
  double alpha = 36, sigma = 5;
  std::uint8_t fill = 0;
  Interpolation interpolation = Interpolation::kBilinear;
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("alpha", self.alpha);
    field("sigma", self.sigma);
    field("fill", self.fill);
    field("interpolation", self.interpolation);
    field("p", self.p);
  }
};

struct CenterCrop {
  static constexpr std::string_view kName = "CenterCrop";
  static constexpr auto kDrawn = names();
  PlaneSize size;
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("size", self.size);
    field("p", self.p);
  }
};

// top and left are the position of the crop in the padded image.
struct RandomCrop {
  static constexpr std::string_view kName = "RandomCrop";
  static constexpr auto kDrawn = names("top", "left");
  PlaneSize size;
  Padding padding;
  std::uint8_t fill = 0;
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("size", self.size);
    field("padding", self.padding);
    field("fill", self.fill);
    field("p", self.p);
  }
};

struct Resize {
  static constexpr std::string_view kName = "Resize";
  static constexpr auto kDrawn = names();
  PlaneSize size;  // width 0: `height` is the shorter side, the aspect ratio is kept
  Interpolation interpolation = Interpolation::kBilinear;
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("size", self.size);
    field("interpolation", self.interpolation);
    field("p", self.p);
  }
};

struct RandomErasing {
  static constexpr std::string_view kName = "RandomErasing";
  static constexpr auto kDrawn = names("top", "left", "height", "width");
  double p = 0.5;
  Range scale{0.02, 0.33}, ratio{0.3, 3.3};
  std::int64_t value = 0;  // -1: random bytes
  static void visit(auto& self, auto&& field) {
    field("p", self.p);
    field("scale", self.scale);
    field("ratio", self.ratio);
    field("value", self.value);
  }
};

// x and y are the centre of the square.
struct Cutout {
  static constexpr std::string_view kName = "Cutout";
  static constexpr auto kDrawn = names("y", "x");
  std::int64_t size = 1;
  std::uint8_t value = 0;
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("size", self.size);
    field("value", self.value);
    field("p", self.p);
  }
};

struct ColorJitter {
  static constexpr std::string_view kName = "ColorJitter";
  static constexpr auto kDrawn = names("brightness", "contrast", "contrast_first");
  Range brightness{1, 1}, contrast{1, 1};
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("brightness", self.brightness);
    field("contrast", self.contrast);
    field("p", self.p);
  }
};

struct GaussianNoise {
  static constexpr std::string_view kName = "GaussianNoise";
  static constexpr auto kDrawn = names();
  double std = 0.1;  // in units of the range from black (0) to white (1)
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("std", self.std);
    field("p", self.p);
  }
};

struct MorphologicalThickness {
  static constexpr std::string_view kName = "MorphologicalThickness";
  static constexpr auto kDrawn = names("amount");
  Range amount;
  double p = 1;
  static void visit(auto& self, auto&& field) {
    field("amount", self.amount);
    field("p", self.p);
  }
};

// Apply either all of the next `count` steps or none of them.
struct RandomApply {
  static constexpr std::string_view kName = "RandomApply";
  static constexpr auto kDrawn = names();
  std::int64_t count = 0;
  double p = 0.5;
  static void visit(auto& self, auto&& field) {
    field("count", self.count);
    field("p", self.p);
  }
};

using Step = std::variant<Rotation, Affine, Perspective, ElasticDistortion, CenterCrop, RandomCrop, Resize,
                          RandomErasing, Cutout, ColorJitter, GaussianNoise, MorphologicalThickness, RandomApply>;

// A list of steps, applied in order.
struct Augmentation {
  std::vector<Step> steps;
};

inline double probability(const Step& step) {
  return std::visit([](const auto& each) { return each.p; }, step);
}
inline std::string_view name(const Step& step) {
  return std::visit([](const auto& each) { return each.kName; }, step);
}

}  // namespace mnistcnn::data::augmentation
