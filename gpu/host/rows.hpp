// Fr transforms of one row in lanes: cells to remainders and back, and the step between the two halves.
//
// A row is 128 cells x 64 elements. The remainder of the row's polynomial modulo X^64 - z_i (node i at depth 7
// of the tree in kernels/ntt.cuh) is cell i interpolated: `from_cell` and `to_cell` do the 6 levels below that
// node within a cell, `extend` the 6 levels above it, across cells. Coefficient j of all 128 remainders is the
// transform of size 128 that FK20 multiplies with, so proofs need no transform of their own.
//
// Layouts: a remainder is 8 vectors in natural order, element 8 v + lane. Next to memory, vector l holds
// elements 8 lane + l, so that the three smallest levels stay within a lane.
//
// Factors of 64 that `inverse` leaves are taken out where integers enter or leave Montgomery form, for free.
#pragma once
#include "memory.hpp"
#include "ntt.cuh"
#include "vectors.hpp"

namespace cellar {

constexpr int CELL_VECTORS = CELL_ELEMENTS / LANES;
constexpr int BYTES_PER_ELEMENT = 32;
constexpr int BYTES_PER_CELL = CELL_ELEMENTS * BYTES_PER_ELEMENT;
constexpr int BYTES_PER_FOLD_SCALAR = 16;

struct Remainder {
  Fr v[CELL_VECTORS];
};

CELLAR_HD int reversed_bits(int i, int bits) {
  int out = 0;
  for (int k = 0; k < bits; k++) out |= (i >> k & 1) << (bits - 1 - k);
  return out;
}

// A canonical integer to multiply with; no Montgomery factor: product with a stored value leaves that form.
inline Fr plain(const u64* words) {
  u64 limbs[Fr::LIMBS];
  Fr::words_to_limbs(words, limbs);
  return Fr::broadcast(limbs);
}

// A scalar of a fold, big-endian: its low 64 bits, then the high ones.
inline void load_fold_scalar(const u8* bytes, u64& low, u64& high) {
  memcpy(&high, bytes, 8), memcpy(&low, bytes + 8, 8);
  high = __builtin_bswap64(high), low = __builtin_bswap64(low);
}

class Domain {
  struct Roots {
    Array<u64> limbs{EXTENDED_ELEMENTS / 2 * Fr::LIMBS};
    CELLAR_HD Fr operator[](int i) const { return Fr::broadcast(&limbs[size_t(i) * Fr::LIMBS]); }
  };
  // Roots of the three smallest levels of a cell, by lane: 4 vectors for pairs at distance 1, 2 for 2, 1 for 4.
  struct LaneRoots {
    Fr root[7];
  };

 public:
  Roots zeta, zeta_inverse;

 private:
  Array<LaneRoots> lane_zeta{CELLS}, lane_zeta_inverse{CELLS};

  static void fill(const Roots& roots, LaneRoots* out, int cell) {
    for (int k = 0; k < 7; k++) {
      for (int lane = 0; lane < LANES; lane++) {
        int i = k < 4 ? 32 * cell + 4 * lane + k : k < 6 ? 16 * cell + 2 * lane + (k - 4) : 8 * cell + lane;
        out->root[k].set_lane(lane, &roots.limbs[size_t(i) * Fr::LIMBS]);
      }
    }
  }

 public:
  Fr one, inverse64;        // plain integers 1 and 1/64
  Fr half, half_inverse64;  // plain integers 1/2 and 1/128
  Fr scale_in;              // R^2 / 64: into Montgomery form, and the factor of `interpolate` out

  Domain() {
    // zeta[i] = w^(4096 * 0.brp(i)): powers of w in bit-reversed order; canonical, so that bounds are tight.
    Fr w = Fr::constant(Curve::root_of_unity), w_inverse = Fr::inverse(w);
    Fr power = Fr::one(), power_inverse = Fr::one();
    for (int e = 0; e < EXTENDED_ELEMENTS / 2; e++) {
      int i = reversed_bits(e, 12);
      Fr::canonical(power).lane(0, &zeta.limbs[size_t(i) * Fr::LIMBS]);
      Fr::canonical(power_inverse).lane(0, &zeta_inverse.limbs[size_t(i) * Fr::LIMBS]);
      power = Fr::mul(power, w);
      power_inverse = Fr::mul(power_inverse, w_inverse);
    }
    for (int cell = 0; cell < CELLS; cell++) {
      fill(zeta, &lane_zeta[cell], cell);
      fill(zeta_inverse, &lane_zeta_inverse[cell], cell);
    }
    const u64 one_words[4] = {1, 0, 0, 0};
    one = plain(one_words);
    Fr montgomery64 = Fr::constant(Curve::cell_elements_inverse);
    Fr montgomery_half = Fr::inverse(Fr::dbl(Fr::one()));
    inverse64 = Fr::from_montgomery(montgomery64);
    half = Fr::from_montgomery(montgomery_half);
    half_inverse64 = Fr::from_montgomery(Fr::mul(montgomery64, montgomery_half));
    scale_in = Fr::canonical(Fr::mul(montgomery64, Fr::broadcast(FrLanes::R2)));
  }

  // Remainders at a node to its n descendants, and n times the way back.
  CELLAR_HD void down(Fr* a, int n, int node) const {
    forward(a, n, 1, node, [this](int i) { return [c = zeta[i]](Fr& x, Fr& y) { split(x, y, c); }; });
  }
  CELLAR_HD void up(Fr* a, int n, int node) const {
    inverse(a, n, 1, node, [this](int i) { return [c = zeta_inverse[i]](Fr& x, Fr& y) { join(x, y, c); }; });
  }

  // The remainder of cell i from its bytes. False if an element is >= r.
  bool from_cell(const u8* bytes, int cell, Remainder& out) const {
    const bool canonical = load_cell(bytes, scale_in, out);
    interpolate(out, cell);
    return canonical;
  }

  // The elements of a cell, next to memory, times `factor` / R: one pass for Montgomery form and a constant.
  static bool load_cell(const u8* bytes, const Fr& factor, Remainder& out) {
    __mmask8 canonical = 0xff;
    for (int l = 0; l < CELL_VECTORS; l++) {
      Fr integer = load_scalars(bytes + l * BYTES_PER_ELEMENT, LANES * BYTES_PER_ELEMENT);
      canonical &= Fr::below(integer, FrLanes::MODULUS);
      out.v[l] = Fr::mul(integer, factor);
    }
    return canonical == 0xff;
  }

  // out = the sum of `rows` cells, each times its scalar. False if an element is >= r.
  static bool fold(const u8* cells, const u8* scalars, int rows, u8* out) {
    Remainder sum{}, cell;
    for (int i = 0; i < rows; i++) {
      u64 words[4] = {};
      load_fold_scalar(scalars + size_t(i) * BYTES_PER_FOLD_SCALAR, words[0], words[1]);
      if (!load_cell(cells + size_t(i) * BYTES_PER_CELL, Fr::to_montgomery(plain(words)), cell)) return false;
      for (int l = 0; l < CELL_VECTORS; l++) sum.v[l] = Fr::add(sum.v[l], cell.v[l]);
    }
    for (int l = 0; l < CELL_VECTORS; l++)
      store_scalars(out + l * BYTES_PER_ELEMENT, LANES * BYTES_PER_ELEMENT, Fr::canonical(sum.v[l]));
    return true;
  }

  // From the values of cell i (next to memory, divided by 64) to its remainder. Results are below 2.5 r.
  void interpolate(Remainder& values, int cell) const {
    Fr* a = values.v;
    const Fr* root = lane_zeta_inverse[cell].root;
    for (int l = 0; l < 8; l += 2) join(a[l], a[l + 1], root[l / 2]);
    for (int l = 0; l < 8; l++)
      if (!(l & 2)) join(a[l], a[l + 2], root[4 + l / 4]);
    for (int l = 0; l < 4; l++) join(a[l], a[l + 4], root[6]);
    transpose8_elements(a);
    up(a, CELL_VECTORS, cell);
  }

  // z_i, of which X^64 - z_i is node i: the node's parent splits by +-zeta.
  Fr cell_root(int cell) const {
    Fr root = zeta[cell / 2];
    return cell % 2 ? Fr::neg(root) : root;
  }

  // The bytes of cell i from its remainder, times the plain integer `scale`.
  void to_cell(const Remainder& remainder, int cell, const Fr& scale, u8* bytes) const {
    Fr a[CELL_VECTORS];
    for (int v = 0; v < CELL_VECTORS; v++) a[v] = remainder.v[v];
    down(a, CELL_VECTORS, cell);
    transpose8_elements(a);
    const Fr* root = lane_zeta[cell].root;
    for (int l = 0; l < 4; l++) split(a[l], a[l + 4], root[6]);
    for (int l = 0; l < 8; l++)
      if (!(l & 2)) split(a[l], a[l + 2], root[4 + l / 4]);
    for (int l = 0; l < 8; l += 2) split(a[l], a[l + 1], root[l / 2]);
    for (int l = 0; l < CELL_VECTORS; l++)
      store_scalars(bytes + l * BYTES_PER_ELEMENT, LANES * BYTES_PER_ELEMENT,
                    Fr::canonical(Fr::mul(a[l], scale)));
  }

  // Parity of 8 elements a row: the values of data rows, at the first places of a domain of 2n places (n the power of
  // two that fits them; zeros fill up), to those of as many parity rows at the places from n on, in place. `column` has
  // n elements; `inverse_n` is the plain integer 1/n. False if an element is >= r.
  bool parity(const u8* data, u8* out, size_t row_bytes, int rows, int n, const Fr& inverse_n, Fr* column) const {
    __mmask8 canonical = 0xff;
    for (int i = 0; i < n; i++) {
      if (i < rows) {
        const Fr integer = load_scalars(data + i * row_bytes, BYTES_PER_ELEMENT);
        canonical &= Fr::below(integer, FrLanes::MODULUS);
        column[i] = Fr::to_montgomery(integer);
      } else {
        column[i] = Fr::zero();
      }
    }
    up(column, n, 0);
    down(column, n, 1);
    for (int i = 0; i < rows; i++)
      store_scalars(out + i * row_bytes, BYTES_PER_ELEMENT, Fr::canonical(Fr::mul(column[i], inverse_n)));
    return canonical == 0xff;
  }

  // Remainders 64..127, times 64, from 0..63.
  void extend(Remainder* row) const {
    constexpr int HALF = CELLS / 2;
    Fr column[HALF];
    for (int v = 0; v < CELL_VECTORS; v++) {
      for (int i = 0; i < HALF; i++) column[i] = row[i].v[v];
      up(column, HALF, 0);
      down(column, HALF, 1);
      for (int i = 0; i < HALF; i++) row[HALF + i].v[v] = column[i];
    }
  }
};

}  // namespace cellar
