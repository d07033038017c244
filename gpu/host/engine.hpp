// The engine as C++ objects: tables from the trusted setup, and the five operations on batches of rows.
#pragma once
#include <memory>
#include <mutex>

#include "prover.hpp"
#include "recovery.hpp"
#include "tasks.hpp"
#include "verifier.hpp"

namespace cellar {

// [c] G for the c of each lane: 32 big-endian bytes each, c < r. Only for the setup.
inline Xyzz<Fp> multiply_generator(const u8* scalars) {
  const Affine<Fp> generator{Fp::constant(Curve::generator_x), Fp::constant(Curve::generator_y)};
  V words[4];
  load_scalars(scalars, BYTES_PER_ELEMENT).to_word_vectors(words);
  Xyzz<Fp> total = infinity<Fp>();
  for (int bit = 254; bit >= 0; bit--) {
    total = dbl(total);
    Fp::Mask set = _mm512_test_epi64_mask(words[bit / 64], _mm512_set1_epi64(i64(1ull << bit % 64)));
    total = select(set, madd(total, generator), total);
  }
  return total;
}

struct EngineSetup {
  const u8* lagrange;             // [4096][48] in the order of a blob's elements
  const u8* monomial;             // [4096][48]
  const i16* matrix_digits;       // gpu.folding.matrix_digits
  const i16* root_digits;         // gpu.convolution.root_digits
  const u8* blinding;             // [128][32] random scalars in the order of columns
  const u8* blinding_image;       // [128][32] what the proofs' transform makes of them
  const u8* random;               // [8][32] random scalars
  const u8* lines;                // gpu.pairing.line_bytes of [s^64] and [1]
  const u8* frobenius;            // gpu.pairing.frobenius_bytes
  int t, b, commitment_b;
};

class Engine {
  Prover prover;
  Verifier verifier;
  std::mutex lock;
  std::vector<std::unique_ptr<RowMemory>> idle;  // kept for the next call
  std::atomic<bool> stopped{false};

  class Lease {  // the memory of one thread while a call lasts
    Engine& engine;
    std::unique_ptr<RowMemory> memory;

   public:
    explicit Lease(Engine& e) : engine(e) {
      std::lock_guard<std::mutex> guard(engine.lock);
      if (!engine.idle.empty()) {
        memory = std::move(engine.idle.back());
        engine.idle.pop_back();
      }
    }
    RowMemory& get() {
      if (!memory)
        memory = std::make_unique<RowMemory>(engine.prover.commitment_table.shape, engine.prover.proof_table.shape);
      return *memory;
    }
    ~Lease() {
      std::lock_guard<std::mutex> guard(engine.lock);
      if (memory && engine.idle.size() < engine.idle.capacity()) engine.idle.push_back(std::move(memory));
    }
  };

 public:
  enum Status { OK = 0, INVALID = 1, STOPPED = 2, NO_MEMORY = 3, COLLISION = 4, BAD_COMMITMENT = 5, BAD_PROOF = 6 };

  Engine(int t, int b, int commitment_b, const i16* digits, int threads)
      : prover(t, b, commitment_b, digits), verifier(prover.domain) {
    idle.reserve(threads);
  }

  size_t table_bytes() const {
    return prover.commitment_table.bytes() + prover.proof_table.bytes() + verifier.bytes();
  }
  u64 rows_redone() const { return prover.redone; }
  void stop() { stopped = true; }

  // False if the setup is not made of points in general position: it is not the ceremony's.
  bool build(const EngineSetup& setup, int threads) {
    constexpr int VECTORS = BLOB_ELEMENTS / LANES;
    Array<Affine<Fp>> lagrange(VECTORS), monomial(VECTORS), columns(size_t(CELLS) * CELL_VECTORS);
    bool ok = run_tasks(threads, 2 * VECTORS, [&](int i, int) {
      const u8* in[LANES];
      Fp::Mask infinite;
      const u8* from = i < VECTORS ? setup.lagrange : setup.monomial;
      for (int lane = 0; lane < LANES; lane++) in[lane] = from + size_t(i % VECTORS * LANES + lane) * BYTES_PER_POINT;
      return !decompress(in, LANES, i < VECTORS ? lagrange[i] : monomial[i - VECTORS], infinite) && !infinite;
    });
    if (!ok) return false;
    run_tasks(threads, CELL_VECTORS, [&](int v, int) {
      column_points(&columns[size_t(v) * CELLS], monomial.get(), v, setup.root_digits);
      return true;
    });
    draw_blinding(setup);
    return run_tasks(threads, PROOF_VECTORS + 2, [&](int task, int) {
      if (task == 0) return prover.commitment_table.build(0, lagrange.get());
      if (task == 1) {
        Xyzz<Fp> random = multiply_generator(setup.random);
        Affine<Fp> affine;
        Fp scratch;
        to_affine(&affine, &random, 1, &scratch, static_cast<Fp::Mask*>(nullptr));
        return verifier.build(monomial.get(), affine, setup.lines, setup.frobenius);
      }
      Affine<Fp> group[CELL_ELEMENTS];
      for (int i = 0; i < CELL_ELEMENTS; i++) {
        for (int lane = 0; lane < LANES; lane++) {
          const Affine<Fp>& from = columns[size_t(i / LANES) * CELLS + (task - 2) * LANES + lane];
          u64 limbs[Fp::LIMBS];
          from.x.lane(i % LANES, limbs), group[i].x.set_lane(lane, limbs);
          from.y.lane(i % LANES, limbs), group[i].y.set_lane(lane, limbs);
        }
      }
      return prover.proof_table.build(task - 2, group);
    });
  }

  int commit(const u8* blobs, int n, u8* commitments, int threads) {
    return each_row(n, threads, 1, [&](int i, const Crew& crew) {
      return prover.commit(blobs + size_t(i) * BLOB_BYTES, commitments + size_t(i) * BYTES_PER_POINT, crew.own());
    });
  }

  int extend(const u8* blobs, int n, u8* cells, int threads) {
    return each_row(n, threads, 1, [&](int i, const Crew& crew) {
      return prover.extend(blobs + size_t(i) * BLOB_BYTES, cells + size_t(i) * 2 * BLOB_BYTES, crew.own());
    });
  }

  int prove(const u8* blobs, int n, u8* cells, u8* proofs, int threads) {
    return each_row(n, threads, crew_size(n, threads), [&](int i, const Crew& crew) {
      const u8* blob = blobs + size_t(i) * BLOB_BYTES;
      const RowResult extended = prover.extend(blob, cells + size_t(i) * 2 * BLOB_BYTES, crew.own());
      if (extended != RowResult::done) return extended;
      return prover.prove(proofs + size_t(i) * CELLS * BYTES_PER_POINT, prover.domain.half_inverse64, crew);
    });
  }

  // known: `count` ascending indices; cells: [n][count]; proofs may be null.
  int recover(const int* known, int count, const u8* cells, int n, u8* all_cells, u8* proofs, int threads) {
    const Recovery recovery(prover.domain, known, count);
    return each_row(n, threads, proofs ? crew_size(n, threads) : 1, [&](int i, const Crew& crew) {
      const u8* from = cells + size_t(i) * count * BYTES_PER_CELL;
      u8* out = all_cells + size_t(i) * 2 * BLOB_BYTES;
      if (!recovery.run(from, out, crew.own().row.get(), proofs != nullptr)) return RowResult::bad_element;
      if (!proofs) return RowResult::done;
      return prover.prove(proofs + size_t(i) * CELLS * BYTES_PER_POINT, prover.domain.half, crew);
    });
  }

  int verify(const CellBatch& batch, int threads, int* valid, int* position) {
    bool holds = false;
    const Verdict verdict = verifier.run(batch, threads, holds, *position);
    *valid = holds;
    switch (verdict) {
      case Verdict::bad_commitment: return BAD_COMMITMENT;
      case Verdict::bad_proof: return BAD_PROOF;
      case Verdict::bad_cell: return INVALID;
      case Verdict::collision: return COLLISION;
      case Verdict::done: break;
    }
    return OK;
  }

  // points: [count][48]; weights: [outputs][count][32]; out: [outputs][48], the weighted sums.
  int combine(const u8* points, int count, const u8* weights, int outputs, const u8* noise, u8* out, int threads,
              int* position) {
    switch (verifier.combine(points, count, weights, outputs, noise, out, threads, *position)) {
      case Verdict::done: return OK;
      case Verdict::collision: return COLLISION;
      default: return BAD_PROOF;
    }
  }

  // cells, out: [rows][row_bytes], row_bytes a multiple of 256: the parity rows of `rows` data rows, element by element.
  int parity(const u8* cells, int rows, u64 row_bytes, u8* out, int threads) {
    int n = 1;
    while (n < rows) n *= 2;
    u64 words[4] = {u64(n), 0, 0, 0};
    const Fr inverse_n = Fr::from_montgomery(Fr::inverse(Fr::to_montgomery(plain(words))));
    std::vector<Array<Fr>> columns;
    for (int i = 0; i < threads; i++) columns.emplace_back(n);
    constexpr int STEP = LANES * BYTES_PER_ELEMENT;
    const bool ok = run_tasks(threads, int(row_bytes / STEP), [&](int i, int slot) {
      const size_t at = size_t(i) * STEP;
      return prover.domain.parity(cells + at, out + at, row_bytes, rows, n, inverse_n, columns[slot].get());
    });
    return ok ? OK : INVALID;
  }

 private:
  static constexpr size_t BLOB_BYTES = size_t(BLOB_ELEMENTS) * BYTES_PER_ELEMENT;

  // How many threads there are for each of a few rows.
  static int crew_size(int n, int threads) { return n > 0 && n < threads ? threads / n : 1; }

  // row(i, crew) for each of n rows, from as many crews of `size` as `threads` make.
  template <class Row>
  int each_row(int n, int threads, int size, const Row& row) {
    const int crews = n < threads / size ? n : threads / size;
    std::vector<std::unique_ptr<Lease>> leases;
    std::vector<RowMemory*> memory;
    for (int i = 0; i < crews * size; i++) {
      leases.push_back(std::make_unique<Lease>(*this));
      memory.push_back(&leases.back()->get());
    }
    std::atomic<int> status{OK};
    run_tasks(crews, n, [&](int i, int slot) {
      if (stopped) {
        status = STOPPED;
        return false;
      }
      const RowResult result = row(i, Crew{&memory[size_t(slot) * size], size});
      if (result == RowResult::done) return true;
      status = result == RowResult::collision ? COLLISION : INVALID;
      return false;
    });
    return status;
  }

  void draw_blinding(const EngineSetup& setup) {
    Xyzz<Fp> points[2 * PROOF_VECTORS];
    Affine<Fp> affine[2 * PROOF_VECTORS];
    Fp scratch[2 * PROOF_VECTORS];
    for (int v = 0; v < 2 * PROOF_VECTORS; v++) {
      const u8* from = v < PROOF_VECTORS ? setup.blinding : setup.blinding_image;
      points[v] = multiply_generator(from + size_t(v % PROOF_VECTORS) * LANES * BYTES_PER_ELEMENT);
    }
    to_affine(affine, points, 2 * PROOF_VECTORS, scratch, static_cast<Fp::Mask*>(nullptr));
    for (int v = 0; v < PROOF_VECTORS; v++) {
      prover.blinding[v] = affine[v];
      prover.blinding_image[v] = affine[PROOF_VECTORS + v];
    }
  }
};

}  // namespace cellar
