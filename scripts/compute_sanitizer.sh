#!/usr/bin/env bash
# compute-sanitizer once over each kernel (tests/gpu/exercise_kernels.py), with each of its tools: accesses out of
# bounds, races in shared memory, reads of uninitialised memory, barriers that not all threads reach.
#
#   scripts/compute_sanitizer.sh [SECONDS]      for all of them together; 900
#
# PYTHON is the interpreter (python3). Fails if a tool finds something or runs out of time; where the tools are not
# installed it says so, and does not fail.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
deadline=$((SECONDS + ${1:-900}))

sanitizer=$(PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin command -v compute-sanitizer)
if [ -z "$sanitizer" ]; then
  echo "compute-sanitizer is not installed (it comes with the CUDA toolkit): NO KERNEL WAS CHECKED"
  exit 0
fi
status=0
for tool in memcheck racecheck synccheck initcheck; do
  left=$((deadline - SECONDS))
  [ $tool = initcheck ] || left=$((left / 2)) # the others must have their turn
  if [ "$left" -lt 5 ]; then
    echo "-- $tool: NOT RUN, no time is left" && status=1
    continue
  fi
  echo "-- $tool"
  # Calls of the driver that fail are CuPy's to answer: it asks for what older drivers do not have.
  timeout -k 5 "$left" "$sanitizer" --tool "$tool" --error-exitcode 9 --report-api-errors no --target-processes all \
    --print-limit 20 "$PYTHON" -m tests.gpu.exercise_kernels 2>&1 | tail -30
  case ${PIPESTATUS[0]} in
    0) echo "$tool: clean" ;;
    124 | 137) echo "$tool: DID NOT END in $left s" && status=1 ;;
    *) echo "$tool: FAILED" && status=1 ;;
  esac
done
exit $status
