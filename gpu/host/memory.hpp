// Large aligned arrays on huge pages: tables of many megabytes are read at random.
#pragma once
#include <stdlib.h>
#include <sys/mman.h>

#include <new>

namespace cellar {

template <class T>
class Array {
  T* data_ = nullptr;
  size_t count_ = 0;

 public:
  Array() = default;
  explicit Array(size_t count) : count_(count) {
    size_t bytes = count * sizeof(T), page = bytes >= (1u << 21) ? 1u << 21 : 4096;
    bytes = (bytes + page - 1) / page * page;
    data_ = static_cast<T*>(aligned_alloc(page, bytes ? bytes : page));
    if (!data_) throw std::bad_alloc();
    if (page > 4096) madvise(data_, bytes, MADV_HUGEPAGE);
  }
  Array(Array&& other) noexcept : data_(other.data_), count_(other.count_) { other.data_ = nullptr; }
  Array& operator=(Array&& other) noexcept {
    if (this != &other) {
      free(data_);
      data_ = other.data_, count_ = other.count_, other.data_ = nullptr;
    }
    return *this;
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { free(data_); }

  T* get() { return data_; }
  const T* get() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  size_t size() const { return count_; }
  size_t bytes() const { return count_ * sizeof(T); }
};

}  // namespace cellar
