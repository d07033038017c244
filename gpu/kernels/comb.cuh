// The signed odd comb: fixed-base multi-scalar multiplication, as plain index arithmetic.
//
// A scalar s is made odd (s + r if it was even) and read as s = sum (2 bit_i - 1) 2^i, i < 256, where the bits
// are those of (s >> 1) + 2^255: a bit stands for + or -, never for 0. Cut into teeth of t bits, s P is
//
//   sum over positions k < t of 2^k * sum over teeth j of +-P_j,      P_j = 2^(t j) P.
//
// The 256/t * points many P_j of a column ('expanded points', e = j * points + index) are grouped into windows of
// b, and a table holds, for each window, all sums +-P_e ... +-P_e' whose last sign is +: half of them, the others
// are their negatives. So there is no zero digit, no carry, and no infinity in a table, and each window costs
// one addition for each position. Sums of points of the setup never meet: that would be a relation between
// powers of the setup's secret.
//
// `b` is a largest size: windows differ in size by one point at most. `bits` is 256, or less where a scalar is cut in
// parts (host/halves.hpp).
#pragma once
#include "base.cuh"

namespace cellar {

constexpr int SCALAR_BITS = 256;

struct CombShape {
  int columns;  // separate sums, each over points of its own
  int points;   // points of a column
  int t;        // positions: 64, 128 or 256
  int b;        // points of a window at most
  int bits = SCALAR_BITS;

  CELLAR_HD int teeth() const { return bits / t; }
  CELLAR_HD int expanded() const { return points * teeth(); }
  CELLAR_HD int windows() const { return (expanded() + b - 1) / b; }
  CELLAR_HD int window_length(int w) const { return expanded() / windows() + (w < expanded() % windows()); }
  CELLAR_HD int window_start(int w) const {
    int longer = expanded() % windows();
    return w * (expanded() / windows()) + (w < longer ? w : longer);
  }
  // Position of a window's first entry in its column's table; windows() gives the table's size.
  CELLAR_HD int window_entry(int w) const {
    int longer = expanded() % windows(), small = 1 << (expanded() / windows() - 1);
    return w <= longer ? 2 * small * w : 2 * small * longer + small * (w - longer);
  }
  CELLAR_HD int entries() const { return window_entry(windows()); }
};

}  // namespace cellar
