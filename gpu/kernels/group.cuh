// The group law of G1, y^2 = x^3 + 4, over any field of the concept (field.md).
//
// Affine points have no encoding of infinity. Xyzz points stand for (X/ZZ, Y/ZZZ) with ZZ^3 = ZZZ^2; infinity
// is ZZ = 0. Every function works on all lanes of F at once; Mask has a bit for each lane.
//
// A formula that is not complete goes wrong exactly where its ZZ3 comes out 0 although the sum is not
// infinity: ZZ3 = ZZ1 ZZ2 PP is 0 if an operand is infinity (ZZ = 0) or both have the same x (PP = 0). That
// is the one test here; testing PP alone would miss infinity, whose X need not be 0.
//
// Source: https://www.hyperelliptic.org/EFD/g1p/auto-shortw-xyzz.html (dbl-2008-s-1, madd-2008-s, add-2008-s)
#pragma once
#include "base.cuh"

namespace cellar {

template <class F>
struct Affine {
  F x, y;
};

template <class F>
struct Xyzz {
  F x, y, zz, zzz;
};

template <class F>
CELLAR_HD Affine<F> select(typename F::Mask m, const Affine<F>& yes, const Affine<F>& no) {
  return {F::select(m, yes.x, no.x), F::select(m, yes.y, no.y)};
}

template <class F>
CELLAR_HD Xyzz<F> select(typename F::Mask m, const Xyzz<F>& yes, const Xyzz<F>& no) {
  return {F::select(m, yes.x, no.x), F::select(m, yes.y, no.y), F::select(m, yes.zz, no.zz),
          F::select(m, yes.zzz, no.zzz)};
}

template <class F>
CELLAR_HD Affine<F> cneg(typename F::Mask m, const Affine<F>& p) {
  return {p.x, F::cneg(m, p.y)};
}

template <class F>
CELLAR_HD Xyzz<F> cneg(typename F::Mask m, const Xyzz<F>& p) {
  return {p.x, F::cneg(m, p.y), p.zz, p.zzz};
}

template <class F>
CELLAR_HD Xyzz<F> infinity() {
  return {F::zero(), F::zero(), F::zero(), F::zero()};
}

template <class F>
CELLAR_HD Xyzz<F> from_affine(const Affine<F>& p) {
  return {p.x, p.y, F::one(), F::one()};
}

template <class F>
CELLAR_HD typename F::Mask is_infinity(const Xyzz<F>& p) {
  return F::is_zero(p.zz);
}

// 2p. Complete: 2 infinity = infinity, and G1 has no point of order 2 (its order is odd; y = 0 never occurs).
template <class F>
CELLAR_HD Xyzz<F> dbl(const Xyzz<F>& p) {
  F u = F::dbl(p.y);
  F v = F::sqr(u);
  F w = F::mul(u, v);
  F s = F::mul(p.x, v);
  F xx = F::sqr(p.x);
  F m = F::add(F::dbl(xx), xx);
  F x3 = F::sqr_sub(m, F::dbl(s));
  F wy = F::mul(w, p.y);
  return {x3, F::mul_sub(m, F::sub_lazy(s, x3), wy), F::mul(v, p.zz), F::mul(w, p.zzz)};
}

namespace detail {
// The sum of (x1, y1) / (zz1, zzz1) and (u2, s2) brought to the same denominators times `zz`, `zzz`.
template <class F>
CELLAR_HD Xyzz<F> chord(const F& u1, const F& s1, const F& u2, const F& s2, const F& zz, const F& zzz) {
  F p = F::sub_lazy(u2, u1);
  F r = F::sub_lazy(s2, s1);
  F pp = F::sqr(p);
  F ppp = F::mul(p, pp);
  F q = F::mul(u1, pp);
  F x3 = F::sqr_sub(r, F::add(ppp, F::dbl(q)));
  F sp = F::mul(s1, ppp);
  return {x3, F::mul_sub(r, F::sub_lazy(q, x3), sp), F::mul(zz, pp), F::mul(zzz, ppp)};
}

// What chord could not do: the lanes of `failed`, where an operand is infinity or the x are equal.
template <class F>
Xyzz<F> repaired(typename F::Mask failed, const Xyzz<F>& sum, const Xyzz<F>& p, const Xyzz<F>& q) {
  typename F::Mask p_infinite = is_infinity(p), q_infinite = is_infinity(q);
  F dy = F::sub(F::mul(p.y, q.zzz), F::mul(q.y, p.zzz));
  Xyzz<F> same_x = select(F::is_zero(dy), dbl(p), infinity<F>());
  Xyzz<F> out = select(q_infinite, p, same_x);
  out = select(p_infinite, q, out);
  return select(failed, out, sum);
}
}  // namespace detail

// p + q. COMPLETE = false is for sums known not to meet infinity or p = +-q: its result is then wrong where
// they do, which is_infinity() detects.
template <bool COMPLETE = true, class F>
CELLAR_HD Xyzz<F> madd(const Xyzz<F>& p, const Affine<F>& q) {
  Xyzz<F> sum = detail::chord(p.x, p.y, F::mul(q.x, p.zz), F::mul(q.y, p.zzz), p.zz, p.zzz);
  if constexpr (COMPLETE) {
    typename F::Mask failed = is_infinity(sum);
    if (F::any(failed)) return detail::repaired(failed, sum, p, from_affine(q));
  }
  return sum;
}

template <class F>
CELLAR_HD Xyzz<F> add(const Xyzz<F>& p, const Xyzz<F>& q) {
  Xyzz<F> sum = detail::chord(F::mul(p.x, q.zz), F::mul(p.y, q.zzz), F::mul(q.x, p.zz), F::mul(q.y, p.zzz),
                              F::mul(p.zz, q.zz), F::mul(p.zzz, q.zzz));
  typename F::Mask failed = is_infinity(sum);
  if (F::any(failed)) return detail::repaired(failed, sum, p, q);
  return sum;
}

// out[i] = p[i] as affine points, with one inversion for all: 1/Z^3 of each from prefix products, then
// 1/Z^2 = (ZZ / ZZZ)^2. Where p is infinity the mask has a bit and the point is not meaningful.
// `scratch` holds n elements; `infinite` may be null where infinity cannot occur.
template <class F>
void to_affine(Affine<F>* out, const Xyzz<F>* p, int n, F* scratch, typename F::Mask* infinite) {
  F product = F::one();
  for (int i = 0; i < n; i++) {
    typename F::Mask none = is_infinity(p[i]);
    if (infinite) infinite[i] = none;
    scratch[i] = product;
    product = F::mul(product, F::select(none, F::one(), p[i].zzz));
  }
  F inverse = F::inverse(product);
  for (int i = n - 1; i >= 0; i--) {
    F zzz = F::select(is_infinity(p[i]), F::one(), p[i].zzz);
    F zzz_inverse = F::mul(inverse, scratch[i]);
    inverse = F::mul(inverse, zzz);
    F z_inverse = F::mul(p[i].zz, zzz_inverse);
    out[i] = {F::mul(p[i].x, F::sqr(z_inverse)), F::mul(p[i].y, zzz_inverse)};
  }
}

}  // namespace cellar
