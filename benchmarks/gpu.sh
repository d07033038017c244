#!/usr/bin/env bash
# Everything that needs a GPU, in one call of less than ten minutes: the GPU tests, the benchmark, whose figures go to
# $OUT/gpu.json as they come, and compute-sanitizer over each kernel. Each part runs whatever became of the others.
#
#   benchmarks/gpu.sh
#
# PYTHON is the interpreter (python3); it needs CuPy, numpy, hypothesis, pytest, pytest-timeout and PyYAML. Wheels in
# .whl/ are installed beside it first: ckzg, py_arkworks_bls12381 and reedsolo above all. Without ckzg the oracle is the
# same kernels compiled for the processor, and without py_arkworks_bls12381 verification is left out; either way the
# tests of tests/kzg are, and the script says so. CELLAR_TEST_DATA is the folder of the official vectors.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHON=${PYTHON:-python3}
OUT=${OUT:-.}
extra=$(mktemp -d)
trap 'rm -rf "$extra"' EXIT
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD:$extra/site:$extra/absent"

if ls .whl/*.whl >/dev/null 2>&1; then
  "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$extra/site" .whl/*.whl ||
    echo "THE WHEELS CANNOT BE INSTALLED; going on without"
fi

# A module that is missing is replaced by one that lets its importers be imported, and can do nothing.
absent=()
stand_in() {
  "$PYTHON" -c "import $1" 2>/dev/null && return
  absent+=("$1")
  mkdir -p "$extra/absent"
  printf '%s' "$2" >"$extra/absent/$1.py"
}
nothing='STAND_IN = True
class Nothing:
    from_compressed_bytes = staticmethod(lambda data: None)
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    return Nothing
'
stand_in ckzg ''
stand_in reedsolo "$nothing"
stand_in py_arkworks_bls12381 "$nothing"
"$PYTHON" -c 'from gpu.cuda.engine import available; reason = available(); raise SystemExit(reason and f"no GPU: {reason}")' || exit 1
"$PYTHON" -c 'import cupy, numpy, platform, gpu.cuda.nvrtc as n; print("python", platform.python_version(), "numpy", numpy.__version__, "cupy", cupy.__version__, "nvrtc", n.nvrtc.getVersion())'
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader || true

# Seconds: 15 until here, then 190 + 170 + 170. A part that ends early leaves the others no more.
status=0
echo "== tests ($SECONDS s)"
if [ ${#absent[@]} -eq 0 ]; then
  timeout -s INT -k 10 190 "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider --durations=5 tests/gpu/test_cuda_gpu.py tests/kzg || status=1
else
  echo "LEFT OUT: ${absent[*]} not installed (put the wheels into .whl/)"
fi

echo "== benchmark ($SECONDS s)"
timeout -s INT -k 5 170 "$PYTHON" -m benchmarks.gpu "$OUT/gpu.json" || { echo "THE BENCHMARK DID NOT END WELL" && status=1; }

echo "== compute-sanitizer ($SECONDS s)"
scripts/compute_sanitizer.sh 170 || status=1
echo "== done: $([ $status = 0 ] && echo all well || echo SOMETHING FAILED) ($SECONDS s)"
exit $status
