// Number-theoretic transforms as trees of remainders.
//
// Node i at depth d of the tree stands for X^m - c^2, m = 8192 / 2^d, and splits into X^(m/2) - c (node 2i)
// and X^(m/2) + c (node 2i+1); c = zeta[i] = w^(4096 * 0.brp(i)) depends on i alone, not on d. So one table of
// 4096 roots serves every transform here. The leaves are X - w^brp(i): values come out in bit-reversed order,
// which is the order of a blob and of its cells, and nothing is ever permuted.
//
//   depth 0, node 0      X^8192 - 1        the extended row
//   depth 1, node 0 / 1  X^4096 -+ 1       the blob / its extension: a negacyclic transform
//   depth 7, node i      X^64 - z_i        cell i; the remainder there is its interpolation polynomial, and
//                                          its coefficient j is C_j(z_i), C_j[t] = coefficient 64 t + j of the row
//
// `forward` goes from remainders at a node to those at its descendants, `inverse` back, times their number.
// Elements are whatever the given split and join take: field elements in every row, points in the setup.
#pragma once
#include "base.cuh"

namespace cellar {

// (a + b X^m) mod X^m -+ c.
template <class F>
CELLAR_HD void split(F& a, F& b, const F& c) {
  F t = F::mul(b, c);
  b = F::sub(a, t);
  a = F::add(a, t);
}

// Twice the inverse of split; c_inverse = 1/c.
template <class F>
CELLAR_HD void join(F& a, F& b, const F& c_inverse) {
  F t = F::sub_lazy(a, b);
  a = F::add(a, b);
  b = F::mul(t, c_inverse);
}

// Remainders of n elements a[0], a[stride], ... (n a power of two) at node `node` to its n descendants.
// by_root(i) returns what does one split by zeta[i], a function of the two elements.
template <class T, class ByRoot>
CELLAR_HD void forward(T* a, int n, int stride, int node, const ByRoot& by_root) {
  for (int half = n / 2, first = node; half > 0; half /= 2, first *= 2) {
    for (int block = 0; block < n / (2 * half); block++) {
      const auto split_one = by_root(first + block);
      T* base = a + 2 * half * block * stride;
      for (int i = 0; i < half; i++) split_one(base[i * stride], base[(i + half) * stride]);
    }
  }
}

// n times the inverse of forward; by_root(i) returns what does one join by 1 / zeta[i].
template <class T, class ByRoot>
CELLAR_HD void inverse(T* a, int n, int stride, int node, const ByRoot& by_root) {
  for (int half = 1, first = node * (n / 2); half < n; half *= 2, first /= 2) {
    for (int block = 0; block < n / (2 * half); block++) {
      const auto join_one = by_root(first + block);
      T* base = a + 2 * half * block * stride;
      for (int i = 0; i < half; i++) join_one(base[i * stride], base[(i + half) * stride]);
    }
  }
}

}  // namespace cellar
