// The C interface of the host engine: what gpu/host/engine.py calls through ctypes (which releases the GIL).
//
// Arguments were checked by the caller: shapes, contiguity, indices. No exception leaves a function; a status of
// Engine::Status is returned instead.
#include "engine.hpp"

using cellar::CellBatch;
using cellar::Engine;
using cellar::EngineSetup;
using cellar::i16;
using cellar::u64;
using cellar::u8;

namespace {
template <class Call>
int guarded(const Call& call) {
  if (!cellar::can_throw()) return Engine::NO_MEMORY;
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return Engine::NO_MEMORY;
  }
}
}  // namespace

#define CELLAR_EXPORT extern "C" __attribute__((visibility("default")))

// Null if there is no memory, or if the setup is unusable.
CELLAR_EXPORT void* cellar_open(const EngineSetup* setup, int threads) {
  if (!cellar::can_throw()) return nullptr;
  try {
    auto engine = std::make_unique<Engine>(threads);
    return engine->build(*setup, threads) ? engine.release() : nullptr;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
CELLAR_EXPORT void cellar_stop(Engine* engine) { engine->stop(); }
CELLAR_EXPORT void cellar_close(Engine* engine) { delete engine; }
CELLAR_EXPORT u64 cellar_table_bytes(const Engine* engine) { return engine->table_bytes(); }
CELLAR_EXPORT u64 cellar_rows_redone(const Engine* engine) { return engine->rows_redone(); }

CELLAR_EXPORT int cellar_commit(Engine* engine, const u8* blobs, int n, u8* commitments, int threads) {
  return guarded([&] { return engine->commit(blobs, n, commitments, threads); });
}
CELLAR_EXPORT int cellar_extend(Engine* engine, const u8* blobs, int n, u8* cells, int threads) {
  return guarded([&] { return engine->extend(blobs, n, cells, threads); });
}
CELLAR_EXPORT int cellar_prove(Engine* engine, const u8* blobs, int n, u8* cells, u8* proofs, int threads) {
  return guarded([&] { return engine->prove(blobs, n, cells, proofs, threads); });
}
CELLAR_EXPORT int cellar_recover(Engine* engine, const int* known, int count, const u8* cells, int n, u8* all_cells, u8* proofs,
                   int threads) {
  return guarded([&] { return engine->recover(known, count, cells, n, all_cells, proofs, threads); });
}
CELLAR_EXPORT int cellar_verify(Engine* engine, const CellBatch* batch, int* valid, int* position, int threads) {
  return guarded([&] { return engine->verify(*batch, threads, valid, position); });
}
CELLAR_EXPORT int cellar_combine(Engine* engine, const u8* points, int count, const u8* weights, int weight_bytes,
                                 int outputs, const u8* noise, u8* out, int* position, int threads) {
  return guarded([&] {
    return engine->combine(points, count, weights, weight_bytes, outputs, noise, out, threads, position);
  });
}
CELLAR_EXPORT int cellar_fold(Engine* engine, const u8* cells, const u8* scalars, int rows, int folds, u8* out,
                              int threads) {
  return guarded([&] { return engine->fold(cells, scalars, rows, folds, out, threads); });
}
CELLAR_EXPORT int cellar_parity(Engine* engine, const u8* cells, int rows, u64 row_bytes, u8* out, int threads) {
  return guarded([&] { return engine->parity(cells, rows, row_bytes, out, threads); });
}
