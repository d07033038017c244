// Tasks over threads: the caller's own and, while a call lasts, some more.
#pragma once
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace cellar {

// Calls task(i, slot) for i in 0..count-1, each once, from at most `threads` threads; slot < threads tells them
// apart. A task that returns false ends the run early. False if one did. Tasks do not throw.
template <class Task>
bool run_tasks(int threads, int count, const Task& task) {
  std::atomic<int> next{0};
  std::atomic<bool> good{true};
  const auto work = [&](int slot) {
    for (int i; good.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < count;)
      if (!task(i, slot)) good = false;
  };
  std::vector<std::thread> others;
  others.reserve(threads);
  try {
    for (int slot = 1; slot < threads && slot < count; slot++) others.emplace_back(work, slot);
  } catch (const std::system_error&) {
    // The system gives no more threads: those there are do it.
  }
  work(0);
  for (std::thread& thread : others) thread.join();
  return good;
}

}  // namespace cellar
