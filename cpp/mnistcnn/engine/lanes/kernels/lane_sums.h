#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Sums over the 16 images in a fixed order, so that all instruction sets are bit-identical: q = (l0 + l2) + (l1 + l3)
// in each group of four lanes, then (q0 + q1) + (q2 + q3).
namespace mnistcnn::engine::lanes {
namespace {

// Sum groups of four lanes of four registers. Lane i of each group of the result is the group's sum in register i.
LANES_INLINE vf sum_groups(vf a, vf b, vf c, vf d) {
#if defined(__AVX512F__)
  const vf ab = shuffle<0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29>(a, b) +
                shuffle<2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31>(a, b);
  const vf cd = shuffle<0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29>(c, d) +
                shuffle<2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31>(c, d);
  return shuffle<0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29>(ab, cd) +
         shuffle<2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31>(ab, cd);
#elif defined(__AVX2__)
  const vf ab = shuffle<0, 8, 1, 9, 4, 12, 5, 13>(a, b) + shuffle<2, 10, 3, 11, 6, 14, 7, 15>(a, b);
  const vf cd = shuffle<0, 8, 1, 9, 4, 12, 5, 13>(c, d) + shuffle<2, 10, 3, 11, 6, 14, 7, 15>(c, d);
  return shuffle<0, 1, 8, 9, 4, 5, 12, 13>(ab, cd) + shuffle<2, 3, 10, 11, 6, 7, 14, 15>(ab, cd);
#else
  const vf ab = shuffle<0, 4, 1, 5>(a, b) + shuffle<2, 6, 3, 7>(a, b);
  const vf cd = shuffle<0, 4, 1, 5>(c, d) + shuffle<2, 6, 3, 7>(c, d);
  return shuffle<0, 1, 4, 5>(ab, cd) + shuffle<2, 3, 6, 7>(ab, cd);
#endif
}

// Complete the sums over 16 images of four values. groups[part]: the result of sum_groups for their registers `part`.
LANES_INLINE v4 sum_images(const vf (&groups)[kParts]) {
#if defined(__AVX512F__)
  const vf g = groups[0];
  return (shuffle<0, 1, 2, 3>(g, g) + shuffle<4, 5, 6, 7>(g, g)) +
         (shuffle<8, 9, 10, 11>(g, g) + shuffle<12, 13, 14, 15>(g, g));
#elif defined(__AVX2__)
  const vf g = groups[0], h = groups[1];
  return (shuffle<0, 1, 2, 3>(g, g) + shuffle<4, 5, 6, 7>(g, g)) +
         (shuffle<0, 1, 2, 3>(h, h) + shuffle<4, 5, 6, 7>(h, h));
#else
  return (groups[0] + groups[1]) + (groups[2] + groups[3]);
#endif
}

// Return the sum over the 16 images of one vector.
LANES_INLINE float sum_images_of_one(const vf (&value)[kParts]) {
  vf groups[kParts];
  for (int part = 0; part < kParts; ++part) groups[part] = sum_groups(value[part], vf{}, vf{}, vf{});
  return sum_images(groups)[0];
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
