#pragma once
#include <span>
#include <vector>

// Centre lines of handwritten digits: the templates of the synthetic data set.
namespace mnistcnn::data {

// x increases to the right, y downwards. A digit is about 100 units high and centred at x = 50.
struct Point {
  float x, y;
};

// Points of a smooth curve in writing order. A point that occurs twice in a row is a corner.
using Stroke = std::vector<Point>;

struct Skeleton {
  int digit;
  float weight;  // relative frequency among the skeletons of the digit
  std::vector<Stroke> strokes;
};

// All skeletons, grouped by digit. Skeletons of one digit whose strokes have the same numbers of points and corners at
// the same positions are a family: interpolating between two of them gives another valid skeleton.
std::span<const Skeleton> digit_skeletons();

}  // namespace mnistcnn::data
