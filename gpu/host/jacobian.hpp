// Jacobian points, for long runs of doublings: 7 products each, not 9 as for Xyzz; and two at a time.
//
// (X, Y, Z) stands for (X/Z^2, Y/Z^3); Z = 0 is infinity. The additions are incomplete: where points meet or one is
// infinity Z comes out 0, and stays 0 from there on. What makes that impossible, or what follows from it, is the
// caller's to state.
//
// A product takes longer than the processor needs to start the next. Twins are two independent values whose operations
// take turns, so that one fills the gaps of the other.
//
// Source: https://www.hyperelliptic.org/EFD/g1p/auto-shortw-jacobian-0.html (dbl-2009-l with a product for 2 X Y^2,
// madd, add-1998-cmo-2)
#pragma once
#include "group.cuh"
#include "lanes.hpp"

namespace cellar {

// The part of the field concept that runs of products need, on two elements.
template <class F>
struct Twin {
  F a, b;
  static CELLAR_HD Twin one() { return {F::one(), F::one()}; }
  static CELLAR_HD Twin mul(const Twin& x, const Twin& y) { return {F::mul(x.a, y.a), F::mul(x.b, y.b)}; }
  static CELLAR_HD Twin sqr(const Twin& x) { return {F::sqr(x.a), F::sqr(x.b)}; }
  static CELLAR_HD Twin mul_sub(const Twin& x, const Twin& y, const Twin& c) {
    return {F::mul_sub(x.a, y.a, c.a), F::mul_sub(x.b, y.b, c.b)};
  }
  static CELLAR_HD Twin sqr_sub(const Twin& x, const Twin& c) {
    return {F::sqr_sub(x.a, c.a), F::sqr_sub(x.b, c.b)};
  }
  static CELLAR_HD Twin add(const Twin& x, const Twin& y) { return {F::add(x.a, y.a), F::add(x.b, y.b)}; }
  static CELLAR_HD Twin dbl(const Twin& x) { return {F::dbl(x.a), F::dbl(x.b)}; }
  static CELLAR_HD Twin sub_lazy(const Twin& x, const Twin& y) {
    return {F::sub_lazy(x.a, y.a), F::sub_lazy(x.b, y.b)};
  }
};

template <class F>
CELLAR_HD Affine<Twin<F>> twin(const Affine<F>& a, const Affine<F>& b) {
  return {{a.x, b.x}, {a.y, b.y}};
}

template <class F>
struct Jacobian {
  F x, y, z;
};

template <class F>
CELLAR_HD Jacobian<F> jacobian(const Affine<F>& p) {
  return {p.x, p.y, F::one()};
}
template <class F>
CELLAR_HD Jacobian<Twin<F>> twin(const Jacobian<F>& a, const Jacobian<F>& b) {
  return {{a.x, b.x}, {a.y, b.y}, {a.z, b.z}};
}
template <class F>
CELLAR_HD Jacobian<F> first(const Jacobian<Twin<F>>& p) {
  return {p.x.a, p.y.a, p.z.a};
}
template <class F>
CELLAR_HD Jacobian<F> second(const Jacobian<Twin<F>>& p) {
  return {p.x.b, p.y.b, p.z.b};
}

template <class F>
CELLAR_HD Xyzz<F> to_xyzz(const Jacobian<F>& p) {
  F zz = F::sqr(p.z);
  return {p.x, p.y, zz, F::mul(zz, p.z)};
}

// 2p; of infinity infinity.
template <class F>
CELLAR_HD Jacobian<F> dbl(const Jacobian<F>& p) {
  F xx = F::sqr(p.x);
  F m = F::add(F::dbl(xx), xx);
  F v = F::dbl(F::sqr(p.y));     // 2 Y^2
  F s = F::dbl(F::mul(p.x, v));  // 4 X Y^2
  F yyyy8 = F::dbl(F::sqr(v));   // 8 Y^4
  F x3 = F::sqr_sub(m, F::dbl(s));
  return {x3, F::mul_sub(m, F::sub_lazy(s, x3), yyyy8), F::mul(F::dbl(p.y), p.z)};
}

namespace detail {
// The sum of points brought to one denominator: (u1, s1) and (u2, s2) over z^2, z^3.
template <class F>
CELLAR_HD Jacobian<F> jacobian_chord(const F& u1, const F& s1, const F& u2, const F& s2, const F& z) {
  F h = F::sub_lazy(u2, u1);
  F r = F::sub_lazy(s2, s1);
  F hh = F::sqr(h);
  F hhh = F::mul(h, hh);
  F v = F::mul(u1, hh);
  F x3 = F::sqr_sub(r, F::add(hhh, F::dbl(v)));
  return {x3, F::mul_sub(r, F::sub_lazy(v, x3), F::mul(s1, hhh)), F::mul(z, h)};
}
}  // namespace detail

template <class F>
CELLAR_HD Jacobian<F> add_incomplete(const Jacobian<F>& p, const Affine<F>& q) {
  F zz = F::sqr(p.z);
  return detail::jacobian_chord(p.x, p.y, F::mul(q.x, zz), F::mul(q.y, F::mul(p.z, zz)), p.z);
}

template <class F>
CELLAR_HD Jacobian<F> add_incomplete(const Jacobian<F>& p, const Jacobian<F>& q) {
  F zz1 = F::sqr(p.z), zz2 = F::sqr(q.z);
  return detail::jacobian_chord(F::mul(p.x, zz2), F::mul(p.y, F::mul(q.z, zz2)), F::mul(q.x, zz1),
                                F::mul(q.y, F::mul(p.z, zz1)), F::mul(p.z, q.z));
}

// Horner's rule: total times 2^(bits count), plus the sum of 2^(bits d) sums[d] for d < count, in descending order.
template <class F, class Sum>
Jacobian<F> horner(Jacobian<F> total, int count, int bits, const Sum& sum) {
  for (int d = count - 1; d >= 0; d--) {
    for (int k = 0; k < bits; k++) total = dbl(total);
    total = add_incomplete(total, sum(d));
  }
  return total;
}

}  // namespace cellar
