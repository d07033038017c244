// The parts of the constant convolution (gpu/convolution.py derives it; host/convolution.hpp does it in lanes).
//
// Each parity of a row's 128 points is 64 points, cut into negacyclic parts of 32, 16 and 8 and a cyclic one of 8, which
// stand in that order: a `slot` of 0..63 is a place in them.
#pragma once
#include "launch.cuh"

namespace cellar {

constexpr int PARITY = CELLS / 2, HALVES = 2, DIGITS = 16, DIGIT_BITS = 8, SUMS = HALVES * DIGITS;
constexpr int MULTIPLES = 1 << (DIGIT_BITS - 1);

struct Part {
  int size, first;
  bool cyclic;
};
CELLAR_HD Part part_of_slot(int slot) {
  if (slot < 32) return {32, 0, false};
  if (slot < 48) return {16, 32, false};
  return {8, slot < 56 ? 48 : 56, slot >= 56};
}

}  // namespace cellar
