// Tasks over threads: the caller's own and, while a call lasts, some more.
#pragma once
#include <stdlib.h>

#include <atomic>
#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace cellar {

// Whether this thread can throw an exception. The first one in a thread needs a few bytes of memory of its own, and
// the C++ runtime ends the process if it does not get them; here they are taken while it is certain that they are there.
inline bool can_throw() {
  void* volatile room = malloc(4096);  // volatile: a compiler may leave out an allocation that nothing uses
  const bool there = room != nullptr;
  free(room);
  return there && std::uncaught_exceptions() >= 0;
}

// Calls task(i, slot) for i in 0..count-1, each once, from at most `threads` threads; slot < threads distinguishes
// them. A task that returns false ends the run early. False if one did. A task that finds no memory (bad_alloc, the
// only thing it may throw) ends the run in the same way, and the caller gets its bad_alloc when all threads are done.
template <class Task>
bool run_tasks(int threads, int count, const Task& task) {
  std::atomic<int> next{0};
  std::atomic<bool> good{true}, memory{true};
  const auto work = [&](int slot) {
    try {
      for (int i; good.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < count;)
        if (!task(i, slot)) good = false;
    } catch (const std::bad_alloc&) {
      good = memory = false;
    }
  };
  std::vector<std::thread> others;
  others.reserve(threads);
  // The system may give no more threads, or no memory for them: those there are do it.
  try {
    for (int slot = 1; slot < threads && slot < count; slot++)
      others.emplace_back([&work, slot] {
        if (can_throw()) work(slot);
      });
  } catch (const std::system_error&) {
  } catch (const std::bad_alloc&) {
  }
  work(0);
  for (std::thread& thread : others) thread.join();
  if (!memory) throw std::bad_alloc();
  return good;
}

}  // namespace cellar
