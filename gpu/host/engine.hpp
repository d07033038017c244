// The engine as C++ objects: tables from the trusted setup, and the operations on batches of rows. An engine verifies,
// recovers and derives parity; with a prover, which has the large tables, it also commits, extends and proves.
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

struct ProverSetup {
  const u8* lagrange;        // [4096][48] in the order of a blob's elements
  const u8* monomial;        // [4096][48]
  const i16* matrix_digits;  // gpu.host.folding.matrix_digits
  const i16* root_digits;    // gpu.convolution.root_digits
  const u8* blinding;        // [128][32] random scalars in the order of columns
  const u8* blinding_image;  // [128][32] what the proofs' transform makes of them
  int t, b, commitment_b;
};

struct EngineSetup {
  const u8* monomial;         // [64][48]
  const u8* random;           // [8][32] random scalars
  const u8* lines;            // gpu.host.pairing.line_bytes of [s^64] and [1]
  const u8* frobenius;        // gpu.host.pairing.frobenius_bytes
  const ProverSetup* prover;  // null for an engine that does not prove
};

// What one thread needs to extend or recover a row: 0.3 MiB.
struct RemainderMemory {
  Array<Remainder> row{CELLS};
};

// Memory of threads and groups, kept for the next call.
template <class Memory>
class Pool {
  std::mutex lock;
  std::vector<std::unique_ptr<Memory>> idle;

 public:
  explicit Pool(int kept) { idle.reserve(kept); }

  class Lease {  // while a call lasts
    Pool& pool;
    std::vector<std::unique_ptr<Memory>> held;

   public:
    std::vector<Memory*> memory;

    // `make` gives a new one.
    template <class Make>
    Lease(Pool& p, int count, const Make& make) : pool(p) {
      held.reserve(count), memory.reserve(count);
      for (int i = 0; i < count; i++) {
        held.push_back(pool.take());
        if (!held.back()) held.back() = make();
        memory.push_back(held.back().get());
      }
    }
    ~Lease() {
      std::lock_guard<std::mutex> guard(pool.lock);
      for (std::unique_ptr<Memory>& one : held)
        if (one && pool.idle.size() < pool.idle.capacity()) pool.idle.push_back(std::move(one));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
  };

 private:
  std::unique_ptr<Memory> take() {
    std::lock_guard<std::mutex> guard(lock);
    if (idle.empty()) return nullptr;
    std::unique_ptr<Memory> one = std::move(idle.back());
    idle.pop_back();
    return one;
  }
};

class Engine {
  const Domain domain;
  Verifier verifier{domain};
  std::unique_ptr<Prover> prover;
  Pool<RemainderMemory> remainder_memory;
  Pool<RowMemory> row_memory;
  Pool<GroupMemory> group_memory;
  std::atomic<bool> stopped{false};

 public:
  enum Status { OK = 0, INVALID = 1, STOPPED = 2, NO_MEMORY = 3, COLLISION = 4, BAD_COMMITMENT = 5, BAD_PROOF = 6 };

  explicit Engine(int threads) : remainder_memory(threads), row_memory(threads), group_memory(threads) {}

  size_t table_bytes() const {
    return verifier.bytes() + (prover ? prover->commitment_table.bytes() + prover->proof_table.bytes() : 0);
  }
  u64 rows_redone() const { return prover ? u64(prover->redone) : 0; }
  void stop() { stopped = true; }

  // False if the setup is not made of points in general position: it is not the ceremony's.
  bool build(const EngineSetup& setup, int threads) {
    return build_verifier(setup) && (!setup.prover || build_prover(*setup.prover, threads));
  }

  // The next three need a prover.
  int commit(const u8* blobs, int n, u8* commitments, int threads) {
    const int grouped = n / LANES * LANES;
    const int status = commit_groups(blobs, n / LANES, commitments, threads);
    if (status != OK) return status;
    return commit_rows(blobs + grouped * BLOB_BYTES, n - grouped, commitments + grouped * BYTES_PER_POINT, threads);
  }

  int extend(const u8* blobs, int n, u8* cells, int threads) {
    return each_remainder_task(n, threads, [&](int i, RemainderMemory& memory) {
      return prover->extend(blobs + size_t(i) * BLOB_BYTES, cells + size_t(i) * 2 * BLOB_BYTES, memory.row.get());
    });
  }

  int prove(const u8* blobs, int n, u8* cells, u8* proofs, int threads) {
    return prove_rows(n, proofs, domain.half_inverse64, threads, [&](int i, Remainder* row) {
      return prover->extend(blobs + size_t(i) * BLOB_BYTES, cells + size_t(i) * 2 * BLOB_BYTES, row);
    });
  }

  // known: `count` ascending indices; cells: [n][count]; proofs may be null, and are without a prover.
  int recover(const int* known, int count, const u8* cells, int n, u8* all_cells, u8* proofs, int threads) {
    const Recovery recovery(domain, known, count);
    const auto recover_row = [&](int i, Remainder* row) {
      const u8* from = cells + size_t(i) * count * BYTES_PER_CELL;
      const bool good = recovery.run(from, all_cells + size_t(i) * 2 * BLOB_BYTES, row, proofs != nullptr);
      return good ? RowResult::done : RowResult::bad_element;
    };
    if (proofs) return prove_rows(n, proofs, domain.half, threads, recover_row);
    return each_remainder_task(
        n, threads, [&](int i, RemainderMemory& memory) { return recover_row(i, memory.row.get()); });
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

  // points: [count][48]; weights: [outputs][count][16 or 32]; out: [outputs][48], the weighted sums.
  int combine(const u8* points, int count, const u8* weights, int weight_bytes, int outputs, const u8* noise, u8* out,
              int threads, int* position) {
    switch (verifier.combine(points, count, weights, weight_bytes, outputs, noise, out, threads, *position)) {
      case Verdict::done: return OK;
      case Verdict::collision: return COLLISION;
      default: return BAD_PROOF;
    }
  }

  // cells: [folds][rows][2048]; scalars: [folds][rows][16]; out: [folds][2048], the weighted sums.
  int fold(const u8* cells, const u8* scalars, int rows, int folds, u8* out, int threads) {
    const bool ok = run_tasks(threads, folds, [&](int i, int) {
      return Domain::fold(cells + size_t(i) * rows * BYTES_PER_CELL, scalars + size_t(i) * rows * BYTES_PER_FOLD_SCALAR,
                          rows, out + size_t(i) * BYTES_PER_CELL);
    });
    return ok ? OK : INVALID;
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
      return domain.parity(cells + at, out + at, row_bytes, rows, n, inverse_n, columns[slot].get());
    });
    return ok ? OK : INVALID;
  }

 private:
  static constexpr size_t BLOB_BYTES = size_t(BLOB_ELEMENTS) * BYTES_PER_ELEMENT;

  bool build_verifier(const EngineSetup& setup) {
    Affine<Fp> monomial[CELL_VECTORS], random;
    for (int v = 0; v < CELL_VECTORS; v++)
      if (!load_points(setup.monomial, v, monomial[v])) return false;
    const Xyzz<Fp> multiple = multiply_generator(setup.random);
    Fp scratch;
    to_affine(&random, &multiple, 1, &scratch, static_cast<Fp::Mask*>(nullptr));
    return verifier.build(monomial, random, setup.lines, setup.frobenius);
  }

  bool build_prover(const ProverSetup& setup, int threads) {
    prover = std::make_unique<Prover>(domain, setup.t, setup.b, setup.commitment_b, setup.matrix_digits);
    constexpr int VECTORS = BLOB_ELEMENTS / LANES;
    Array<Affine<Fp>> lagrange(VECTORS), monomial(VECTORS), columns(size_t(CELLS) * CELL_VECTORS);
    const bool ok = run_tasks(threads, 2 * VECTORS, [&](int i, int) {
      return i < VECTORS ? load_points(setup.lagrange, i, lagrange[i])
                         : load_points(setup.monomial, i - VECTORS, monomial[i - VECTORS]);
    });
    if (!ok) return false;
    run_tasks(threads, CELL_VECTORS, [&](int v, int) {
      column_points(&columns[size_t(v) * CELLS], monomial.get(), v, setup.root_digits);
      return true;
    });
    draw_blinding(setup);
    return run_tasks(threads, PROOF_VECTORS + 1, [&](int task, int) {
      if (task == 0) return prover->commitment_table.build(0, lagrange.get());
      const int v = task - 1;
      Affine<Fp> group[CELL_ELEMENTS];
      for (int i = 0; i < CELL_ELEMENTS; i++) {
        for (int lane = 0; lane < LANES; lane++) {
          const Affine<Fp>& from = columns[size_t(i / LANES) * CELLS + v * LANES + lane];
          u64 limbs[Fp::LIMBS];
          from.x.lane(i % LANES, limbs), group[i].x.set_lane(lane, limbs);
          from.y.lane(i % LANES, limbs), group[i].y.set_lane(lane, limbs);
        }
      }
      return prover->proof_table.build(v, group);
    });
  }

  // Points LANES v and on of the setup. False if one is no point or infinity.
  static bool load_points(const u8* points, int v, Affine<Fp>& out) {
    const u8* in[LANES];
    for (int lane = 0; lane < LANES; lane++) in[lane] = points + size_t(v * LANES + lane) * BYTES_PER_POINT;
    Fp::Mask infinite;
    return !decompress(in, LANES, out, infinite) && !infinite;
  }

  Pool<RowMemory>::Lease lease_rows(int count) {
    return {row_memory, count, [this] {
              return std::make_unique<RowMemory>(prover->commitment_table.shape, prover->proof_table.shape);
            }};
  }

  // task(i) for each of `count` tasks, until the engine is stopped or one fails.
  template <class Task>
  int each(int threads, int count, const Task& task) {
    std::atomic<int> status{OK};
    run_tasks(threads, count, [&](int i, int slot) {
      if (stopped) {
        status = STOPPED;
        return false;
      }
      const RowResult result = task(i, slot);
      if (result == RowResult::done) return true;
      status = result == RowResult::collision ? COLLISION : INVALID;
      return false;
    });
    return status;
  }

  // The same, with a memory for each thread.
  template <class Task>
  int each_task(int count, int threads, const Task& task) {
    const auto lease = lease_rows(count < threads ? count : threads);
    return each(threads, count, [&](int i, int slot) { return task(i, *lease.memory[slot]); });
  }

  template <class Task>
  int each_remainder_task(int count, int threads, const Task& task) {
    const Pool<RemainderMemory>::Lease lease(remainder_memory, count < threads ? count : threads,
                                             [] { return std::make_unique<RemainderMemory>(); });
    return each(threads, count, [&](int i, int slot) { return task(i, *lease.memory[slot]); });
  }

  // row(i, crew) for each of n rows, from as many crews as there are threads for; `memory` has one for each thread.
  template <class Row>
  int each_row(int n, int threads, RowMemory* const* memory, const Row& row) {
    const int size = n > 0 && n < threads ? threads / n : 1;
    return each(threads / size, n, [&](int i, int slot) { return row(i, Crew{memory + size_t(slot) * size, size}); });
  }

  // Commitments of whole groups of rows, and of single rows, cut into as many parts as keep all threads busy.
  int commit_groups(const u8* blobs, int groups, u8* commitments, int threads) {
    int parts = 1;
    while (parts < LANES && groups * parts < 2 * threads) parts *= 2;
    const int columns = LANES / parts;
    Array<Xyzz<Fp>> sums(size_t(groups) * parts);
    const int status = each_task(groups * parts, threads, [&](int i, RowMemory& memory) {
      const u8* rows[LANES];
      for (int lane = 0; lane < LANES; lane++) rows[lane] = blobs + (size_t(i / parts) * LANES + lane) * BLOB_BYTES;
      const int part = i % parts;
      return prover->commit_group_part(rows, part * columns, (part + 1) * columns, sums[i], memory);
    });
    for (int group = 0; group < groups && status == OK; group++)
      store_commitments(commitments + size_t(group) * LANES * BYTES_PER_POINT, LANES, sum(&sums[group * parts], parts));
    return status;
  }
  int commit_rows(const u8* blobs, int n, u8* commitments, int threads) {
    const int windows = prover->commitment_table.windows();
    int parts = n > 0 && n < threads ? (threads + n - 1) / n : 1;
    if (parts > LANES) parts = LANES;
    Array<Xyzz<Fp>> sums(size_t(n) * parts);
    const int status = each_task(n * parts, threads, [&](int i, RowMemory& memory) {
      const u8* blob = blobs + size_t(i / parts) * BLOB_BYTES;
      const int part = i % parts;
      return prover->commit_part(blob, windows * part / parts, windows * (part + 1) / parts, sums[i], memory);
    });
    for (int row = 0; row < n && status == OK; row++)
      store_commitments(commitments + size_t(row) * BYTES_PER_POINT, 1, sum_of_lanes(sum(&sums[row * parts], parts)));
    return status;
  }

  static Xyzz<Fp> sum(const Xyzz<Fp>* points, int count) {
    Xyzz<Fp> total = points[0];
    for (int i = 1; i < count; i++) total = add(total, points[i]);
    return total;
  }

  // The first `count` lanes.
  static void store_commitments(u8* commitments, int count, const Xyzz<Fp>& points) {
    u8* out[LANES];
    for (int i = 0; i < count; i++) out[i] = commitments + size_t(i) * BYTES_PER_POINT;
    Affine<Fp> affine;
    Fp scratch;
    Fp::Mask infinite;
    to_affine(&affine, &points, 1, &scratch, &infinite);
    compress(out, count, affine, infinite);
  }

  // Proofs of n rows, whose remainders load(i, remainders) gives. Groups are worked on as many at once as there are
  // threads, and each step of the work is shared out among all threads.
  template <class Load>
  int prove_rows(int n, u8* proofs, const Fr& upper_half, int threads, const Load& load) {
    const auto proofs_of = [&](int i) { return proofs + size_t(i) * CELLS * BYTES_PER_POINT; };
    const auto lease = lease_rows(n > 0 ? threads : 0);
    RowMemory* const* memory = lease.memory.data();
    const int groups = n / LANES, grouped = groups * LANES;
    const int most = groups < threads ? groups : threads;
    const Pool<GroupMemory>::Lease group_lease(group_memory, most, [] { return std::make_unique<GroupMemory>(); });
    for (int first = 0; first < groups; first += most) {
      const int some = groups - first < most ? groups - first : most;
      const auto group_of = [&](int i) -> GroupMemory& { return *group_lease.memory[i]; };
      const int start = first * LANES, rows = some * LANES;
      int status = each(threads, rows, [&](int i, int) { return load(start + i, group_of(i / LANES).row(i % LANES)); });
      if (status != OK) return status;
      const int tasks = prover->sum_tasks();
      status = each(threads, some * tasks, [&](int i, int slot) {
        return prover->sum_columns(group_of(i / tasks), i % tasks, upper_half, *memory[slot]);
      });
      if (status != OK) return status;
      status = each_row(rows, threads, memory, [&](int i, const Crew& crew) {
        return prover->prove_from_sums(group_of(i / LANES), i % LANES, proofs_of(start + i), crew);
      });
      if (status != OK) return status;
    }
    return each_row(n - grouped, threads, memory, [&](int i, const Crew& crew) {
      const RowResult loaded = load(grouped + i, crew.own().row.get());
      return loaded == RowResult::done ? prover->prove(proofs_of(grouped + i), upper_half, crew) : loaded;
    });
  }

  void draw_blinding(const ProverSetup& setup) {
    Xyzz<Fp> points[2 * PROOF_VECTORS];
    Affine<Fp> affine[2 * PROOF_VECTORS];
    Fp scratch[2 * PROOF_VECTORS];
    for (int v = 0; v < 2 * PROOF_VECTORS; v++) {
      const u8* from = v < PROOF_VECTORS ? setup.blinding : setup.blinding_image;
      points[v] = multiply_generator(from + size_t(v % PROOF_VECTORS) * LANES * BYTES_PER_ELEMENT);
    }
    to_affine(affine, points, 2 * PROOF_VECTORS, scratch, static_cast<Fp::Mask*>(nullptr));
    for (int v = 0; v < PROOF_VECTORS; v++) {
      prover->blinding[v] = affine[v];
      prover->blinding_image[v] = affine[PROOF_VECTORS + v];
    }
  }
};

}  // namespace cellar
