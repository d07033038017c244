// Lost cells back from any 64 of a row's 128.
//
// Coefficient j of the remainders, over the cells, is a polynomial C_j of degree < 64 at the 128th roots of unity z_i
// (rows.hpp): 64 codes of length 128, all with the same cells missing. So one matrix of Lagrange's coefficients,
// missing x known, serves every j and every row of a batch; it is made once, with one inversion. A sum of 64
// products is reduced once, which makes the matrix cheaper than transforms of size 128 would be.
//
// With more than 64 cells given the first 64 are used; the others are assumed right, as the port states.
#pragma once
#include "rows.hpp"

namespace cellar {

class Recovery {
  static constexpr int NEEDED = CELLS / 2;
  const Domain& domain;
  int known_count, missing_count = 0;
  int known[CELLS], missing[CELLS];
  Array<u64> matrix;  // [missing][NEEDED] canonical limbs

  CELLAR_HD Fr entry(int row, int k) const { return Fr::broadcast(&matrix[(size_t(row) * NEEDED + k) * Fr::LIMBS]); }

 public:
  // indices: strictly ascending, 64 or more.
  Recovery(const Domain& d, const int* indices, int count)
      : domain(d), known_count(count), matrix(size_t(NEEDED) * NEEDED * Fr::LIMBS) {
    for (int i = 0, next = 0; i < CELLS; i++) {
      if (next < count && indices[next] == i)
        known[next++] = i;
      else
        missing[missing_count++] = i;
    }
    // Lane l of vector k / 8 is known cell k. weight = product of (z_k - z_j) over the other known cells j.
    constexpr int VECTORS = NEEDED / LANES;
    Fr root[VECTORS], weight[VECTORS];
    for (int k = 0; k < NEEDED; k++) {
      u64 limbs[Fr::LIMBS];
      domain.cell_root(known[k]).lane(0, limbs);
      root[k / LANES].set_lane(k % LANES, limbs);
    }
    for (int v = 0; v < VECTORS; v++) {
      weight[v] = Fr::one();
      for (int j = 0; j < NEEDED; j++) {
        Fr difference = Fr::sub(root[v], domain.cell_root(known[j]));
        if (j / LANES == v) difference = Fr::select(Fr::Mask(1 << j % LANES), Fr::one(), difference);
        weight[v] = Fr::mul(weight[v], difference);
      }
    }
    // matrix[m][k] = N(z_m) / ((z_m - z_k) weight_k), N(x) = product of x - z_k.
    Array<Fr> denominator(size_t(missing_count) * VECTORS), prefix(size_t(missing_count) * VECTORS);
    Fr product = Fr::one();
    for (int i = 0; i < missing_count * VECTORS; i++) {
      Fr difference = Fr::sub(domain.cell_root(missing[i / VECTORS]), root[i % VECTORS]);
      denominator[i] = Fr::mul(difference, weight[i % VECTORS]);
      prefix[i] = product;
      product = Fr::mul(product, denominator[i]);
    }
    Fr inverse = Fr::inverse(product);
    for (int m = missing_count - 1; m >= 0; m--) {
      Fr numerator = Fr::one();
      for (int j = 0; j < NEEDED; j++)
        numerator = Fr::mul(numerator, Fr::sub(domain.cell_root(missing[m]), domain.cell_root(known[j])));
      for (int v = VECTORS - 1; v >= 0; v--) {
        const int i = m * VECTORS + v;
        Fr coefficient = Fr::canonical(Fr::mul(Fr::mul(inverse, prefix[i]), numerator));
        inverse = Fr::mul(inverse, denominator[i]);
        for (int lane = 0; lane < LANES; lane++)
          coefficient.lane(lane, &matrix[(size_t(m) * NEEDED + v * LANES + lane) * Fr::LIMBS]);
      }
    }
  }

  // cells: the known ones; out: all 128; row: their remainders (those of cells that were known only if
  // `all_remainders`). False if an element is >= r.
  bool run(const u8* cells, u8* out, Remainder* row, bool all_remainders) const {
    for (int k = 0; k < known_count; k++) {
      const u8* bytes = cells + size_t(k) * BYTES_PER_CELL;
      memcpy(out + size_t(known[k]) * BYTES_PER_CELL, bytes, BYTES_PER_CELL);
      if (k < NEEDED || all_remainders) {
        if (!domain.from_cell(bytes, known[k], row[known[k]])) return false;
      } else {
        Remainder checked;
        if (!Domain::load_cell(bytes, domain.scale_in, checked)) return false;
      }
    }
    for (int m = 0; m < missing_count; m++) {
      Remainder& result = row[missing[m]];
      for (int v = 0; v < CELL_VECTORS; v++) {
        Fr::Sum sum;
        sum.clear();
        for (int k = 0; k < NEEDED; k++) sum.add_product(row[known[k]].v[v], entry(m, k));
        result.v[v] = Fr::reduce_sum(sum);
      }
      domain.to_cell(result, missing[m], domain.one, out + size_t(missing[m]) * BYTES_PER_CELL);
    }
    return true;
  }
};

}  // namespace cellar
