// Windows into the arithmetic, for the tests: field operations on raw limbs, the group law in lanes and words, the
// pairing check.
#include "group.cuh"
#include "jacobian.hpp"
#include "halves.hpp"
#include "lanes.hpp"
#include "multiples.hpp"
#include "pairing.hpp"
#include "points.hpp"
#include "words.cuh"

using namespace cellar;

namespace {

using FpWord = Words<FpWords64>;

// Operations on stored values as they are: limbs [n][LIMBS], n a multiple of 8.
template <class F>
int field(int op, const u64* a, const u64* b, const u64* c, u64* out, int n) {
  for (int at = 0; at < n; at += F::COUNT) {
    F x, y, z, result;
    for (int lane = 0; lane < F::COUNT; lane++) {
      const size_t i = size_t(at + lane) * F::LIMBS;
      x.set_lane(lane, a + i), y.set_lane(lane, b + i), z.set_lane(lane, c + i);
    }
    switch (op) {
      case 0: result = F::add(x, y); break;
      case 1: result = F::sub(x, y); break;
      case 2: result = F::mul(x, y); break;
      case 3: result = F::mul_sub(x, y, z); break;
      case 4: result = F::mul(F::sub_lazy(x, y), F::sub_lazy(y, z)); break;
      case 5: result = F::canonical(x); break;
      case 6: result = F::inverse(x); break;
      case 7: result = F::select(F::is_zero(x), F::one(), F::zero()); break;
      case 8: result = F::from_montgomery(x); break;
      case 9: {
        typename F::Sum sum;
        sum.clear();
        for (int k = 0; k < 64; k++) sum.add_product(x, y);
        result = F::reduce_sum(sum);
        break;
      }
      case 10:
        if constexpr (F::LIMBS == 8) {
          result = F::chord_x(F::signed_sub_lazy(0xaa, x, y), F::sub_lazy(z, x), x);
          break;
        } else {
          return 0;
        }
      case 11: result = F::sqr(x); break;
      case 12: result = F::sqr_sub(x, z); break;
      default: return 0;
    }
    for (int lane = 0; lane < F::COUNT; lane++) result.lane(lane, out + size_t(at + lane) * F::LIMBS);
  }
  return 1;
}

// A point as 4 canonical integers of 6 words: X, Y, ZZ, ZZZ.
constexpr int POINT_WORDS = 24;

template <class F>
Xyzz<F> operate(int op, const Xyzz<F>& p, const Xyzz<F>& q) {
  switch (op) {
    case 0: return dbl(p);
    case 1: return add(p, q);
    case 2: return madd(p, Affine<F>{q.x, q.y});
    default: {
      F flag = F::select(in_subgroup(Affine<F>{p.x, p.y}), F::one(), F::zero());
      return {flag, flag, flag, flag};
    }
  }
}

// In Jacobian coordinates, of the points that Xyzz ones of any ZZ stand for.
Jacobian<Fp> to_jacobian(const Xyzz<Fp>& p) {
  return {Fp::mul(p.x, Fp::sqr(p.zz)), Fp::mul(p.y, Fp::sqr(p.zzz)), p.zzz};
}

// Lanes of either of two equal twins, by turns.
Xyzz<Fp> of_both(const Jacobian<Twin<Fp>>& twins) {
  return select(0x55, to_xyzz(first(twins)), to_xyzz(second(twins)));
}

Xyzz<Fp> operate_in_lanes(int op, const Xyzz<Fp>& p, const Xyzz<Fp>& q) {
  const Affine<Fp> p_affine{p.x, p.y}, q_affine{q.x, q.y};
  const Jacobian<Fp> a = to_jacobian(p), b = to_jacobian(q);
  switch (op) {
    case 3: {  // of p in X and Y, of q in ZZ and ZZZ
      const Members members = in_subgroup(p_affine, q_affine);
      const Fp first = Fp::select(members.first, Fp::one(), Fp::zero());
      const Fp second = Fp::select(members.second, Fp::one(), Fp::zero());
      return {first, first, second, second};
    }
    case 4: return of_both(dbl(twin(a, a)));
    case 5: return of_both(add_incomplete(twin(a, a), twin(b, b)));
    case 6: return of_both(add_incomplete(twin(a, a), twin(q_affine, q_affine)));
    default: return operate(op, p, q);
  }
}

void group_in_words(int op, const u64* p, const u64* q, u64* out, int n) {
  for (int i = 0; i < n; i++) {
    const auto coordinate = [&](const u64* point, int k) {
      return FpWord::constant([&](int w) { return point[size_t(i) * POINT_WORDS + 6 * k + w]; });
    };
    const auto point = [&](const u64* from) {
      return Xyzz<FpWord>{coordinate(from, 0), coordinate(from, 1), coordinate(from, 2), coordinate(from, 3)};
    };
    const Xyzz<FpWord> sum = operate(op, point(p), point(q));
    const FpWord coordinates[4] = {sum.x, sum.y, sum.zz, sum.zzz};
    for (int k = 0; k < 4; k++) {
      const FpWord integer = FpWord::from_montgomery(coordinates[k]);
      for (int w = 0; w < 6; w++) out[size_t(i) * POINT_WORDS + 6 * k + w] = integer.w[w];
    }
  }
}

void group_in_lanes(int op, const u64* p, const u64* q, u64* out, int n) {
  for (int at = 0; at < n; at += Fp::COUNT) {
    const auto coordinate = [&](const u64* point, int k) {
      Fp integer;
      for (int lane = 0; lane < Fp::COUNT; lane++) {
        u64 limbs[Fp::LIMBS];
        Fp::words_to_limbs(point + size_t(at + lane) * POINT_WORDS + 6 * k, limbs);
        integer.set_lane(lane, limbs);
      }
      return Fp::to_montgomery(integer);
    };
    const auto point = [&](const u64* from) {
      return Xyzz<Fp>{coordinate(from, 0), coordinate(from, 1), coordinate(from, 2), coordinate(from, 3)};
    };
    const Xyzz<Fp> sum = operate_in_lanes(op, point(p), point(q));
    const Fp coordinates[4] = {sum.x, sum.y, sum.zz, sum.zzz};
    for (int k = 0; k < 4; k++) {
      const Fp integer = Fp::from_montgomery(coordinates[k]);
      for (int lane = 0; lane < Fp::COUNT; lane++) {
        u64 limbs[Fp::LIMBS];
        integer.lane(lane, limbs);
        Fp::limbs_to_words(limbs, out + size_t(at + lane) * POINT_WORDS + 6 * k);
      }
    }
  }
}

}  // namespace

#define CELLAR_EXPORT extern "C" __attribute__((visibility("default")))

// 1, or 0 for an operation that there is not.
CELLAR_EXPORT int cellar_probe_field(int base_field, int op, const u64* a, const u64* b, const u64* c, u64* out,
                                     int n) {
  return base_field ? field<Fp>(op, a, b, c, out, n) : field<Fr>(op, a, b, c, out, n);
}

CELLAR_EXPORT void cellar_probe_group(int lanes, int op, const u64* p, const u64* q, u64* out, int n) {
  lanes ? group_in_lanes(op, p, q, out, n) : group_in_words(op, p, q, out, n);
}

// scalars, words: [n][4] canonical integers, and their halves as the comb reads them; n a multiple of 8.
CELLAR_EXPORT void cellar_probe_recode(const u64* scalars, u64* words, int n) {
  for (int at = 0; at < n; at += LANES) {
    V in[4], out[4];
    const V place = _mm512_setr_epi64(0, 4, 8, 12, 16, 20, 24, 28);
    for (int w = 0; w < 4; w++) in[w] = _mm512_i64gather_epi64(place, scalars + 4 * at + w, 8);
    recode_halves(Fr::from_word_vectors(in), out);
    for (int w = 0; w < 4; w++) _mm512_i64scatter_epi64(words + 4 * at + w, place, out[w], 8);
  }
}

// Adds b[i] to a[i] in one batch of affine additions (n / 8 vectors); 0 if points met, and nothing is changed then.
CELLAR_EXPORT int cellar_probe_accumulate(const u8* a, const u8* b, u8* out, int n) {
  Array<Affine<Fp>> sums(n / LANES), points(n / LANES);
  BatchMemory memory;
  Fp::Mask infinite;
  const u8* in[LANES];
  u8* to[LANES];
  for (int v = 0; v < n / LANES; v++) {
    for (int lane = 0; lane < LANES; lane++) in[lane] = a + size_t(v * LANES + lane) * BYTES_PER_POINT;
    if (decompress(in, LANES, sums[v], infinite)) return -1;
    for (int lane = 0; lane < LANES; lane++) in[lane] = b + size_t(v * LANES + lane) * BYTES_PER_POINT;
    if (decompress(in, LANES, points[v], infinite)) return -1;
  }
  PointSource<Fp> source{points.get(), 0};
  const int good = accumulate(sums.get(), n / LANES, source, memory.get());
  for (int v = 0; v < n / LANES; v++) {
    for (int lane = 0; lane < LANES; lane++) to[lane] = out + size_t(v * LANES + lane) * BYTES_PER_POINT;
    compress(to, LANES, sums[v], 0);
  }
  return good;
}

// e(left, Q) = e(right, Q') for compressed points and the constants of gpu/pairing.py; -1 for malformed points.
CELLAR_EXPORT int cellar_probe_pairing(const u8* lines, const u8* frobenius, const u8* left, const u8* right) {
  const Pairing pairing(lines, frobenius);
  Xyzz<Fp> points[2];
  for (int i = 0; i < 2; i++) {
    const u8* in = i ? right : left;
    Affine<Fp> point;
    Fp::Mask infinite;
    if (decompress(&in, 1, point, infinite)) return -1;
    points[i] = infinite ? infinity<Fp>() : dbl(from_affine(point));  // ZZ other than 1
  }
  return pairing.equal(points[0], points[1]);
}
