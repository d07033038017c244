// Commitments, and FK20 proofs of all cells of a row.
//
// A row's proofs: the 128 x 64 scalars (remainders of the row, rows.hpp) meet the columns' points in 128 fixed-base
// sums; the constant convolution turns these into proofs; columns are in its order, even roots first.
//
// Rows come alone or in groups of 8, one to a lane of the fixed-base sums (comb.hpp). A group of 7 with a lane left
// over would cost what its rows do one by one, so there are no such groups.
//
// Blinding. The convolution adds points that depend on the caller's data with incomplete formulas, and a zero or
// constant row makes many of them equal. So random points R, drawn when the engine starts, are added to its
// inputs, and their image is taken off its outputs: without knowing R nobody can make two points meet except with a
// chance of about 2^-240. Both additions are complete. Should points meet nevertheless, the batch's product of
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

constexpr CombShape commitment_shape(int b) { return {LANES, BLOB_ELEMENTS / LANES, HALF_BITS, b, HALF_BITS}; }
constexpr CombShape proof_shape(int t, int b) { return {CELLS, CELL_ELEMENTS, t, b, HALF_BITS}; }

// What one thread needs to work on a row: 3.9 MiB.
struct RowMemory {
  Array<Remainder> row{CELLS};
  Array<V> words;
  Array<Affine<Fp>> sums{BATCH};
  Array<Xyzz<Fp>> u{PROOF_VECTORS}, proof{PROOF_VECTORS};
  Array<Affine<Fp>> affine{PROOF_VECTORS}, image{PROOF_VECTORS};
  BatchMemory batch;
  Convolution::Memory convolution;
  CombBits commitment_bits;
  CombBits proof_bits[CombTable::MAX_SLOTS];

  RowMemory(const CombShape& commitment, const CombShape& proof)
      : words(size_t(4) * commitment.points),
        commitment_bits(commitment),
        proof_bits{CombBits(proof), CombBits(proof)} {}
};

// What a group of rows needs: 2.8 MiB.
struct GroupMemory {
  Array<Remainder> remainders{size_t(LANES) * CELLS};
  Array<Xyzz<Fp>> sums{CELLS};  // by column, lanes = rows
  Remainder* row(int lane) { return &remainders[size_t(lane) * CELLS]; }
};

// The threads that work on one row: a memory for each, the first of them the row's own.
struct Crew {
  RowMemory* const* memory;
  int size;
  RowMemory& own() const { return *memory[0]; }
};

// What became of a row. `collision` is for sums that cannot meet and did, because of a damaged table for example. Sums
// of independent points of the setup never meet: see kernels/comb.cuh.
enum class RowResult { done, bad_element, collision };

class Prover {
 public:
  const Domain& domain;
  CombTable commitment_table, proof_table;
  Convolution convolution;
  Array<Affine<Fp>> blinding{PROOF_VECTORS}, blinding_image{PROOF_VECTORS};
  mutable std::atomic<u64> redone{0};  // rows whose points met in spite of blinding

  Prover(const Domain& d, int t, int b, int commitment_b, const i16* matrix_digits)
      : domain(d),
        commitment_table(commitment_shape(commitment_b)),
        proof_table(proof_shape(t, b)),
        convolution(matrix_digits) {}

  // A row's commitment is the sum of these parts, from one to all windows to a part, in all lanes together.
  RowResult commit_part(const u8* blob, int from, int to, Xyzz<Fp>& sum, RowMemory& m) const {
    for (int i = 0; i < BLOB_ELEMENTS / LANES; i++) {
      const u8* elements = blob + size_t(i) * LANES * BYTES_PER_ELEMENT;
      if (!recode_element(load_scalars(elements, BYTES_PER_ELEMENT), &m.words[4 * i])) return RowResult::bad_element;
    }
    m.commitment_bits.set(m.words.get());
    const CombBits* bits = &m.commitment_bits;
    const bool good =
        commitment_table.add_windows(m.sums.get(), {Across::columns, 0, 1, &bits}, from, to, true, m.batch) &&
        commitment_table.sum_positions(&sum, 1, m.sums.get(), m.batch);
    return good ? RowResult::done : RowResult::collision;
  }

  // The commitments of a group, one to a lane, are the sums of these parts, from one to all columns to a part.
  RowResult commit_group_part(const u8* const* blobs, int from, int to, Xyzz<Fp>& sum, RowMemory& m) const {
    for (int column = from; column < to; column++) {
      for (int i = 0; i < BLOB_ELEMENTS / LANES; i++) {
        const u8* elements[LANES];
        for (int lane = 0; lane < LANES; lane++)
          elements[lane] = blobs[lane] + (size_t(i) * LANES + column) * BYTES_PER_ELEMENT;
        if (!recode_element(load_scalars(elements), &m.words[4 * i])) return RowResult::bad_element;
      }
      m.commitment_bits.set(m.words.get());
      const CombBits* bits = &m.commitment_bits;
      if (!commitment_table.add_windows(m.sums.get(), {Across::rows, column, 1, &bits}, 0, commitment_table.windows(),
                                        column == from, m.batch))
        return RowResult::collision;
    }
    return commitment_table.sum_positions(&sum, 1, m.sums.get(), m.batch) ? RowResult::done : RowResult::collision;
  }

  // The row's remainders (64..127 times 64), and its cells.
  RowResult extend(const u8* blob, u8* cells, Remainder* row) const {
    for (int i = 0; i < CELLS / 2; i++)
      if (!domain.from_cell(blob + size_t(i) * BYTES_PER_CELL, i, row[i])) return RowResult::bad_element;
    domain.extend(row);
    memcpy(cells, blob, size_t(BLOB_ELEMENTS) * BYTES_PER_ELEMENT);
    for (int i = CELLS / 2; i < CELLS; i++)
      domain.to_cell(row[i], i, domain.inverse64, cells + size_t(i) * BYTES_PER_CELL);
    return RowResult::done;
  }

  // Proofs of all cells from the remainders in the row's memory. The plain integer `upper_half` is 1/2 divided by
  // the factor that remainders 64..127 carry: domain.half_inverse64 after `extend`.
  RowResult prove(u8* proofs, const Fr& upper_half, const Crew& crew) const {
    RowMemory& m = crew.own();
    const int step = proof_table.slots_per_batch(Across::columns);
    const bool summed = run_tasks(crew.size, proof_table.groups() / step, [&](int batch, int slot) {
      RowMemory& scratch = *crew.memory[slot];
      const CombBits* bits[CombTable::MAX_SLOTS];
      for (int i = 0; i < step; i++) {
        Scaled from[LANES];
        for (int lane = 0; lane < LANES; lane++)
          from[lane] = scaled(m.row.get(), (batch * step + i) * LANES + lane, upper_half);
        set_bits(scratch.proof_bits[i], from, scratch.words.get());
        bits[i] = &scratch.proof_bits[i];
      }
      return proof_table.multiply(&m.u[batch * step], {Across::columns, batch * step, step, bits}, scratch.sums.get(),
                                  scratch.batch);
    });
    return summed ? convolve(proofs, crew) : RowResult::collision;
  }

  // The same in three steps for a group of rows, whose remainders are in its memory: the sums of some columns, for
  // each of `sum_tasks()`; then, row by row, its own sums, and proofs from these.
  int sum_tasks() const { return CELLS / proof_table.slots_per_batch(Across::rows); }
  RowResult sum_columns(GroupMemory& group, int task, const Fr& upper_half, RowMemory& m) const {
    const int step = proof_table.slots_per_batch(Across::rows);
    const CombBits* bits[CombTable::MAX_SLOTS];
    for (int i = 0; i < step; i++) {
      Scaled from[LANES];
      for (int lane = 0; lane < LANES; lane++) from[lane] = scaled(group.row(lane), task * step + i, upper_half);
      set_bits(m.proof_bits[i], from, m.words.get());
      bits[i] = &m.proof_bits[i];
    }
    const Slots slots{Across::rows, task * step, step, bits};
    const bool good = proof_table.multiply(&group.sums[task * step], slots, m.sums.get(), m.batch);
    return good ? RowResult::done : RowResult::collision;
  }
  RowResult prove_from_sums(const GroupMemory& group, int lane, u8* proofs, const Crew& crew) const {
    for (int column = 0; column < CELLS; column++) {
      Xyzz<Fp>& to = crew.own().u[column / LANES];
      const Xyzz<Fp>& sum = group.sums[column];
      u64 limbs[Fp::LIMBS];
      sum.x.lane(lane, limbs), to.x.set_lane(column % LANES, limbs);
      sum.y.lane(lane, limbs), to.y.set_lane(column % LANES, limbs);
      sum.zz.lane(lane, limbs), to.zz.set_lane(column % LANES, limbs);
      sum.zzz.lane(lane, limbs), to.zzz.set_lane(column % LANES, limbs);
    }
    return convolve(proofs, crew);
  }

 private:
  static bool recode_element(const Fr& integer, V* words) {
    recode_halves(integer, words);
    return Fr::below(integer, FrLanes::MODULUS) == 0xff;
  }

  // A column's scalars: a remainder, times a plain integer.
  struct Scaled {
    const Remainder* remainder;
    const Fr* scale;
  };
  Scaled scaled(const Remainder* row, int column, const Fr& upper_half) const {
    const int cell = cell_of(column);
    return {&row[cell], cell < CELLS / 2 ? &domain.half : &upper_half};
  }

  // The scalars of a slot, halved (the convolution doubles), recoded, and cut into positions.
  static void set_bits(CombBits& bits, const Scaled* from, V* scalars) {
    for (int v = 0; v < CELL_VECTORS; v++) {
      V words[4][LANES];
      for (int lane = 0; lane < LANES; lane++) {
        V recoded[4];
        recode_halves(Fr::canonical(Fr::mul(from[lane].remainder->v[v], *from[lane].scale)), recoded);
        for (int w = 0; w < 4; w++) words[w][lane] = recoded[w];
      }
      for (int w = 0; w < 4; w++) {
        transpose8(words[w]);
        for (int k = 0; k < LANES; k++) scalars[4 * (v * LANES + k) + w] = words[w][k];
      }
    }
    bits.set(scalars);
  }

  // Proofs from the columns' sums in m.u.
  RowResult convolve(u8* proofs, const Crew& crew) const {
    RowMemory& m = crew.own();
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
