// Where a program is, a thousand times a second: call stacks by frame pointers, for benchmarks/stages.py.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

namespace {
constexpr int DEPTH = 16, MOST = 1 << 14;
uint64_t stacks[MOST][DEPTH];
volatile int count;
uint64_t stack_high;
timer_t timer;

// The interrupted instruction, then the return addresses; frames that leave the stack or go down end the walk, for
// not all code keeps frame pointers.
void note(int, siginfo_t*, void* context) {
  if (count == MOST) return;
  const greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  uint64_t* out = stacks[count];
  out[0] = registers[REG_RIP];
  uint64_t frame = registers[REG_RBP], least = registers[REG_RSP];
  int depth = 1;
  for (; depth < DEPTH && frame >= least && frame % 8 == 0 && frame <= stack_high - 16; depth++) {
    const uint64_t* words = reinterpret_cast<const uint64_t*>(frame);
    out[depth] = words[1], least = frame + 16, frame = words[0];
  }
  for (; depth < DEPTH; depth++) out[depth] = 0;
  count = count + 1;
}
}  // namespace

extern "C" {
// Begins to sample this thread. Returns 0, or what the system refused.
int sampler_start(int period_us) {
  pthread_attr_t attributes;
  void* base;
  size_t size;
  if (pthread_getattr_np(pthread_self(), &attributes) || pthread_attr_getstack(&attributes, &base, &size)) return 1;
  pthread_attr_destroy(&attributes);
  stack_high = reinterpret_cast<uint64_t>(base) + size;
  count = 0;
  struct sigaction action = {};
  action.sa_sigaction = note;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGPROF;
  event._sigev_un._tid = gettid();
  const itimerspec every = {{0, period_us * 1000}, {0, period_us * 1000}};
  return sigaction(SIGPROF, &action, nullptr) || timer_create(CLOCK_MONOTONIC, &event, &timer) ||
         timer_settime(timer, 0, &every, nullptr);
}

// Ends it; the number of stacks of DEPTH addresses each, filled up with zeros, at `out`.
int sampler_stop(const uint64_t** out) {
  timer_delete(timer);
  *out = &stacks[0][0];
  return count;
}
}
