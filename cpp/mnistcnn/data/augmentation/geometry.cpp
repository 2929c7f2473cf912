#include "mnistcnn/data/augmentation/geometry.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace mnistcnn::data::augmentation {
namespace {

double radians(double degrees) { return degrees * (std::numbers::pi / 180.0); }

// Equivalent to Python's round(value, 15) for |value| <= 1: Pillow rounds the matrix of a rotation likewise.
double round_to_15_digits(double value) {
  constexpr double kScale = 1e15;
  const double product = value * kScale,
               product_error = std::fma(value, kScale, -product);  // the exact product is their sum
  double rounded = std::nearbyint(product);
  const double difference = product - rounded;
  if (difference + product_error > 0.5 || (difference == 0.5 && product_error > 0)) rounded += 1;
  if (difference + product_error < -0.5 || (difference == -0.5 && product_error < 0)) rounded -= 1;
  return rounded / kScale;
}

Point transformed(const Matrix& m, double x, double y) {
  return {m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]};
}

int quarter_turns(double angle, bool expand, PlaneSize image) {
  if (angle == 0) return 0;
  if (angle == 180) return 2;
  if (!expand && image.height != image.width) return -1;
  if (angle == 90) return 1;
  return angle == 270 ? 3 : -1;
}

// Enlarge the output so that it holds the whole rotated image.
void expand_to_fit(RotationTransform& result, PlaneSize image) {
  const auto width = static_cast<double>(image.width), height = static_cast<double>(image.height);
  const Point corners[] = {transformed(result.matrix, 0, 0), transformed(result.matrix, width, 0),
                           transformed(result.matrix, width, height), transformed(result.matrix, 0, height)};
  const auto span_of = [&](double Point::* axis) {
    const auto [low, high] = std::minmax({corners[0].*axis, corners[1].*axis, corners[2].*axis, corners[3].*axis});
    return std::ceil(high) - std::floor(low);
  };
  const double new_width = span_of(&Point::x), new_height = span_of(&Point::y);
  const Point shift = transformed(result.matrix, -(new_width - width) / 2.0, -(new_height - height) / 2.0);
  result.matrix[2] = shift.x;
  result.matrix[5] = shift.y;
  result.size = {static_cast<std::int64_t>(new_height), static_cast<std::int64_t>(new_width)};
}

}  // namespace

RotationTransform rotation_transform(double degrees, std::optional<Point> center, bool expand, PlaneSize image) {
  double angle = std::fmod(degrees, 360.0);
  if (angle < 0) angle += 360.0;
  RotationTransform result{{}, image, center ? -1 : quarter_turns(angle, expand, image)};
  if (result.quarter_turns >= 0) {
    if (result.quarter_turns % 2 == 1) std::swap(result.size.height, result.size.width);
    return result;
  }
  const Point middle =
      center.value_or(Point{static_cast<double>(image.width) / 2, static_cast<double>(image.height) / 2});
  angle = -radians(angle);
  Matrix& m = result.matrix;
  m = {round_to_15_digits(std::cos(angle)),  round_to_15_digits(std::sin(angle)), 0.0,
       round_to_15_digits(-std::sin(angle)), round_to_15_digits(std::cos(angle)), 0.0};
  const Point moved = transformed(m, -middle.x, -middle.y);
  m[2] = moved.x + middle.x;
  m[5] = moved.y + middle.y;
  if (expand) expand_to_fit(result, image);
  return result;
}

Matrix affine_matrix(const AffineParameters& parameters, Point center) {
  const double angle = radians(parameters.degrees);
  const double shear_x = radians(parameters.shear_x), shear_y = radians(parameters.shear_y);
  const double a = std::cos(angle - shear_y) / std::cos(shear_y);
  const double b = -std::cos(angle - shear_y) * std::tan(shear_x) / std::cos(shear_y) - std::sin(angle);
  const double c = std::sin(angle - shear_y) / std::cos(shear_y);
  const double d = -std::sin(angle - shear_y) * std::tan(shear_x) / std::cos(shear_y) + std::cos(angle);
  Matrix m{d, -b, 0.0, -c, a, 0.0};
  for (double& each : m) each /= parameters.scale;
  const double x = -center.x - parameters.translate_x, y = -center.y - parameters.translate_y;
  m[2] += m[0] * x + m[1] * y;
  m[5] += m[3] * x + m[4] * y;
  m[2] += center.x;
  m[5] += center.y;
  return m;
}

std::optional<Homography> homography(const std::array<Point, 4>& starts, const std::array<Point, 4>& ends) {
  double rows[8][9];
  for (std::size_t i = 0; i < 4; ++i) {
    const Point &to = starts[i], &from = ends[i];
    const double both[2][9] = {{from.x, from.y, 1, 0, 0, 0, -to.x * from.x, -to.x * from.y, to.x},
                               {0, 0, 0, from.x, from.y, 1, -to.y * from.x, -to.y * from.y, to.y}};
    std::copy(&both[0][0], &both[0][0] + 18, rows[2 * i]);
  }
  // Gauss-Jordan elimination with partial pivoting.
  for (int k = 0; k < 8; ++k) {
    int best = k;
    for (int row = k + 1; row < 8; ++row)
      if (std::fabs(rows[row][k]) > std::fabs(rows[best][k])) best = row;
    if (std::fabs(rows[best][k]) < 1e-9) return std::nullopt;
    std::swap_ranges(rows[k], rows[k] + 9, rows[best]);
    for (int row = 0; row < 8; ++row) {
      if (row == k) continue;
      const double factor = rows[row][k] / rows[k][k];
      for (int column = k; column < 9; ++column) rows[row][column] -= factor * rows[k][column];
    }
  }
  Homography result;
  for (std::size_t k = 0; k < 8; ++k) result[k] = static_cast<float>(rows[k][8] / rows[k][k]);
  return result;
}

}  // namespace mnistcnn::data::augmentation
