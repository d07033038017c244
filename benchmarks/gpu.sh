#!/usr/bin/env bash
# Everything that needs a GPU, in one call of less than ten minutes: the GPU tests, compute-sanitizer once over each
# kernel, and the benchmark, whose figures go to $OUT/gpu.json.
#
#   benchmarks/gpu.sh
#
# PYTHON is the interpreter (python3); it needs CuPy, numpy and pytest. Wheels in .whl/ are installed beside it first:
# ckzg and py_arkworks_bls12381 above all. Without ckzg the oracle is the same kernels compiled for the processor, and
# without py_arkworks_bls12381 verification is left out; either way the tests of tests/kzg are, and the script says so.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-.}
extra=$(mktemp -d)
trap 'rm -rf "$extra"' EXIT
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD:$extra/site:$extra/absent"

if ls .whl/*.whl >/dev/null 2>&1; then
  "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$extra/site" .whl/*.whl || exit 1
fi

# A module that is missing is replaced by one that lets its importers be imported, and can do nothing.
absent=()
stand_in() {
  "$PYTHON" -c "import $1" 2>/dev/null && return
  absent+=("$1")
  mkdir -p "$extra/absent"
  printf '%s' "$2" >"$extra/absent/$1.py"
}
stand_in ckzg ''
stand_in py_arkworks_bls12381 'STAND_IN = True
class Nothing:
    from_compressed_bytes = staticmethod(lambda data: None)
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    return Nothing
'
"$PYTHON" -c 'from gpu.cuda_engine import available; reason = available(); raise SystemExit(reason and f"no GPU: {reason}")' || exit 1
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader || true

status=0
echo "== tests"
if [ ${#absent[@]} -eq 0 ]; then
  timeout 240 "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider tests/kzg tests/gpu/test_cuda_gpu.py || status=1
else
  echo "left out: ${absent[*]} not installed (put the wheels into .whl/)"
fi

echo "== compute-sanitizer"
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    echo "-- $tool"
    timeout 100 compute-sanitizer --tool "$tool" --error-exitcode 9 "$PYTHON" -m benchmarks.gpu --touch | tail -5
    case ${PIPESTATUS[0]} in
      0) ;;
      124) echo "$tool did not end in its 100 s" && status=1 ;;
      *) status=1 ;;
    esac
  done
else
  echo "left out: it is not installed"
fi

echo "== benchmark"
timeout 180 "$PYTHON" -m benchmarks.gpu "$OUT/gpu.json" || status=1
exit $status
