// Adding to many affine accumulators at once: acc[i] += source(i).
//
// An affine addition needs 1/(x2 - x1). All differences of a batch are multiplied up, the product is inverted
// once, and the inverses are taken out of it again on the way back (Montgomery's trick): 5 multiplications
// and a squaring an addition, against 10 for XYZZ. Two interleaved chains of prefix products (even and odd i)
// hide the latency of the multiplication; so does working in blocks, each step for all of a block before the next: a
// processor looks about one multiplication ahead, and finds in it what does not wait for anything.
//
// The formulas are incomplete. They are right unless some difference is 0 (the points are equal or opposite;
// infinity has no affine form), and then the product of all is 0 in that lane: accumulate() then returns false, and has
// changed nothing. What makes that impossible, or what is done about it, is the caller's to state.
//
// A source has:   F x(int i);   void y(int i, F& y, Mask& negate);   void prefetch(int i);
// y(i) is asked for after x of all, in descending order of i. A source with a constant PARTIAL also has
// Mask absent(int i): elements that accumulator i does not get. Its points must not be among the accumulators.
#pragma once
#include "group.cuh"

namespace cellar {

// Room for a batch: the differences and the prefix products.
template <class F>
struct Batch {
  F* difference;
  F* prefix;
};

template <class Source, class = void>
struct IsPartial {
  static constexpr bool value = false;
};
template <class Source>
struct IsPartial<Source, decltype(void(Source::PARTIAL))> {
  static constexpr bool value = Source::PARTIAL;
};

template <class F, class Source>
bool accumulate(Affine<F>* acc, int n, Source& source, const Batch<F>& batch) {
  constexpr int BLOCK = 8;
  if (n == 0) return true;
  F chain[2] = {F::one(), F::one()};
  for (int first = 0; first < n; first += BLOCK) {
    const int end = first + BLOCK < n ? first + BLOCK : n;
    for (int i = first; i < end; i++) {
      source.prefetch(i);
      batch.difference[i] = F::sub_lazy(source.x(i), acc[i].x);
      if constexpr (IsPartial<Source>::value)
        batch.difference[i] = F::select(source.absent(i), F::one(), batch.difference[i]);
    }
    for (int i = first; i < end; i++) {
      batch.prefix[i] = chain[i & 1];
      chain[i & 1] = F::mul(chain[i & 1], batch.difference[i]);
    }
  }
  F product = F::mul(chain[0], chain[1]);
  if (F::any(F::is_zero(product))) return false;
  F inverse = F::inverse(product);
  F inverse_chain[2] = {F::mul(inverse, chain[1]), F::mul(inverse, chain[0])};
  F slope[BLOCK], other[BLOCK];
  Affine<F> sum[BLOCK];
  for (int end = n; end > 0; end -= BLOCK) {
    const int first = end > BLOCK ? end - BLOCK : 0, count = end - first;
    Affine<F>* block = acc + first;
    for (int i = end - 1; i >= first; i--) {
      F& running = inverse_chain[i & 1];
      slope[i - first] = F::mul(running, batch.prefix[i]);
      running = F::mul(running, batch.difference[i]);
    }
    for (int i = end - 1; i >= first; i--) {
      F y2;
      typename F::Mask negate;
      source.y(i, y2, negate);
      other[i - first] = F::signed_sub_lazy(negate, y2, acc[i].y);
    }
    for (int k = 0; k < count; k++) slope[k] = F::mul(other[k], slope[k]);
    for (int k = 0; k < count; k++) {
      sum[k].x = F::chord_x(slope[k], batch.difference[first + k], block[k].x);
      other[k] = F::sub_lazy(block[k].x, sum[k].x);
    }
    for (int k = 0; k < count; k++) {
      sum[k].y = F::mul_sub(slope[k], other[k], block[k].y);
      if constexpr (IsPartial<Source>::value)
        block[k] = select(source.absent(first + k), block[k], sum[k]);
      else
        block[k] = sum[k];
    }
  }
  return true;
}

// The plainest source: point[i], or -point[i].
template <class F>
struct PointSource {
  const Affine<F>* point;
  typename F::Mask negate;
  CELLAR_HD F x(int i) const { return point[i].x; }
  CELLAR_HD void y(int i, F& y, typename F::Mask& m) const { y = point[i].y, m = negate; }
  CELLAR_HD void prefetch(int) const {}
};

}  // namespace cellar
