// Commitments, and FK20 proofs of all cells of a row.
//
// A row's proofs: the 128 x 64 scalars (remainders of the row, rows.hpp) meet the columns' points in 128 fixed-base
// sums; the constant convolution turns these into proofs; columns are in its order, even roots first.
//
// Blinding. The convolution adds points that depend on the caller's data with incomplete formulas, and a zero or
// constant row makes many of them equal. So random points R, drawn when the engine starts, are added to its
// inputs, and their image is taken off its outputs: whoever does not know R cannot make two points meet but by a
// chance of about 2^-240. Both additions are complete. Should points meet all the same, the batch's product of
// differences is zero, and the row is done again with complete formulas and without blinding.
#pragma once
#include <atomic>

#include "comb.hpp"
#include "convolution.hpp"
#include "points.hpp"
#include "rows.hpp"
#include "setup.hpp"
#include "tasks.hpp"

namespace cellar {

constexpr CombShape commitment_shape(int b) { return {LANES, BLOB_ELEMENTS / LANES, SCALAR_BITS, b}; }
constexpr CombShape proof_shape(int t, int b) { return {CELLS, CELL_ELEMENTS, t, b}; }

// What one thread needs to work on a row.
struct RowMemory {
  Array<Remainder> row{CELLS};
  Array<V> words;
  Array<Affine<Fp>> sums{BATCH};
  Array<Xyzz<Fp>> u{PROOF_VECTORS}, proof{PROOF_VECTORS};
  Array<Affine<Fp>> affine{PROOF_VECTORS}, image{PROOF_VECTORS};
  BatchMemory batch;
  Convolution::Memory convolution;
  CombBits commitment_bits;
  CombBits proof_bits[SCALAR_BITS / 64];

  RowMemory(const CombShape& commitment, const CombShape& proof)
      : words(size_t(4) * commitment.points),
        commitment_bits(commitment),
        proof_bits{CombBits(proof), CombBits(proof), CombBits(proof), CombBits(proof)} {}
};

// The threads that work on one row: a memory for each, the first of them the row's own.
struct Crew {
  RowMemory* const* memory;
  int size;
  RowMemory& own() const { return *memory[0]; }
};

// What became of a row. `collision` is for sums that cannot meet and did: a damaged table, say.
enum class RowResult { done, bad_element, collision };

class Prover {
 public:
  const Domain domain;
  CombTable commitment_table, proof_table;
  Convolution convolution;
  Array<Affine<Fp>> blinding{PROOF_VECTORS}, blinding_image{PROOF_VECTORS};
  mutable std::atomic<u64> redone{0};  // rows whose points met in spite of blinding

  Prover(int t, int b, int commitment_b, const i16* matrix_digits)
      : commitment_table(commitment_shape(commitment_b)), proof_table(proof_shape(t, b)), convolution(matrix_digits) {}

  RowResult commit(const u8* blob, u8* commitment, RowMemory& m) const {
    for (int i = 0; i < BLOB_ELEMENTS / LANES; i++) {
      Fr integer = load_scalars(blob + size_t(i) * LANES * BYTES_PER_ELEMENT, BYTES_PER_ELEMENT);
      if (Fr::below(integer, FrLanes::MODULUS) != 0xff) return RowResult::bad_element;
      recode(integer, &m.words[4 * i]);
    }
    m.commitment_bits.set(m.words.get());
    const CombBits* bits = &m.commitment_bits;
    Xyzz<Fp> sum;
    if (!commitment_table.multiply(&sum, 0, 1, &bits, m.sums.get(), m.batch)) return RowResult::collision;
    sum = sum_of_lanes(sum);
    Fp scratch;
    Affine<Fp> affine;
    Fp::Mask infinite;
    to_affine(&affine, &sum, 1, &scratch, &infinite);
    compress(&commitment, 1, affine, infinite);
    return RowResult::done;
  }

  // The row's remainders into m.row (64..127 times 64), and its cells.
  RowResult extend(const u8* blob, u8* cells, RowMemory& m) const {
    for (int i = 0; i < CELLS / 2; i++)
      if (!domain.from_cell(blob + size_t(i) * BYTES_PER_CELL, i, m.row[i])) return RowResult::bad_element;
    domain.extend(m.row.get());
    memcpy(cells, blob, size_t(BLOB_ELEMENTS) * BYTES_PER_ELEMENT);
    for (int i = CELLS / 2; i < CELLS; i++)
      domain.to_cell(m.row[i], i, domain.inverse64, cells + size_t(i) * BYTES_PER_CELL);
    return RowResult::done;
  }

  // Proofs of all cells from the remainders in the row's memory. The plain integer `upper_half` is 1/2 divided by
  // the factor that remainders 64..127 carry: domain.half_inverse64 after `extend`.
  RowResult prove(u8* proofs, const Fr& upper_half, const Crew& crew) const {
    RowMemory& m = crew.own();
    const int step = proof_table.groups_per_batch();
    const bool summed = run_tasks(crew.size, proof_table.groups() / step, [&](int batch, int slot) {
      RowMemory& scratch = *crew.memory[slot];
      const CombBits* bits[SCALAR_BITS / 64];
      for (int i = 0; i < step; i++) {
        set_bits(scratch.proof_bits[i], batch * step + i, upper_half, m.row.get(), scratch.words.get());
        bits[i] = &scratch.proof_bits[i];
      }
      return proof_table.multiply(&m.u[batch * step], batch * step, step, bits, scratch.sums.get(), scratch.batch);
    });
    // Sums of independent points of the setup never meet: see kernels/comb.cuh.
    if (!summed) return RowResult::collision;
    Fp scratch[PROOF_VECTORS];
    Fp::Mask infinite[PROOF_VECTORS];
    if (convolve_blinded(crew)) {
      for (int v = 0; v < PROOF_VECTORS; v++)
        m.proof[v] = madd(from_affine(m.image[v]), cneg(0xff, blinding_image[v]));
    } else {
      redone++;
      convolution.run_complete(m.proof.get(), m.u.get());
    }
    to_affine(m.affine.get(), m.proof.get(), PROOF_VECTORS, scratch, infinite);
    for (int v = 0; v < PROOF_VECTORS; v++) {
      u8* out[LANES];
      for (int lane = 0; lane < LANES; lane++) out[lane] = proofs + size_t(cell_of(v * LANES + lane)) * BYTES_PER_POINT;
      compress(out, LANES, m.affine[v], infinite[v]);
    }
    return RowResult::done;
  }

 private:
  // The scalars of a group's 8 columns, halved (the convolution doubles), recoded, and cut into positions.
  void set_bits(CombBits& bits, int group, const Fr& upper_half, const Remainder* row, V* scalars) const {
    for (int v = 0; v < CELL_VECTORS; v++) {
      V words[4][LANES];
      for (int lane = 0; lane < LANES; lane++) {
        const int cell = cell_of(group * LANES + lane);
        const Fr& scale = cell < CELLS / 2 ? domain.half : upper_half;
        V recoded[4];
        recode(Fr::canonical(Fr::mul(row[cell].v[v], scale)), recoded);
        for (int w = 0; w < 4; w++) words[w][lane] = recoded[w];
      }
      for (int w = 0; w < 4; w++) {
        transpose8(words[w]);
        for (int k = 0; k < LANES; k++) scalars[4 * (v * LANES + k) + w] = words[w][k];
      }
    }
    bits.set(scalars);
  }

  // m.image = convolution(m.u + blinding). False where points met.
  bool convolve_blinded(const Crew& crew) const {
    RowMemory& m = crew.own();
    Fp scratch[PROOF_VECTORS];
    Fp::Mask infinite[PROOF_VECTORS];
    for (int v = 0; v < PROOF_VECTORS; v++) m.proof[v] = madd(m.u[v], blinding[v]);
    to_affine(m.affine.get(), m.proof.get(), PROOF_VECTORS, scratch, infinite);
    for (Fp::Mask mask : infinite)
      if (mask) return false;
    return convolution.run(m.image.get(), m.affine.get(), m.convolution, crew.size,
                           [&](int slot) { return crew.memory[slot]->convolution.batch.get(); });
  }
};

}  // namespace cellar
