#pragma once
#include <span>
#include <vector>

// How people write the ten digits: the centre lines of their pens, as data.
namespace mnistcnn::data {

// x to the right, y down; a digit is about 100 high and its middle line is x = 50.
struct Point {
  float x, y;
};

// A smooth curve through its points in the order of writing. A point given twice in a row is a corner.
using Stroke = std::vector<Point>;

struct Skeleton {
  int digit;
  float weight;  // how usual this form is, relative to the others of its digit
  std::vector<Stroke> strokes;
};

// All forms, those of one digit side by side. Forms of one digit whose strokes have the same numbers of
// points and corners at the same places are a family: what lies between two of them is also a way to write
// that digit.
std::span<const Skeleton> digit_skeletons();

}  // namespace mnistcnn::data
