#!/bin/sh
# Prints the path of a Python that Cellar runs on: one of 3.11 to 3.14 that makes virtual environments.
#
#   scripts/find_python.sh [PYTHON]      only this one, if it is named
#
# Each candidate is run: a name in PATH proves nothing, since pyenv and asdf put a python3.12 there for versions that
# are not installed. 3.12 and 3.11 come first because blspy has wheels for them; see docs/reference/dependencies.md.
set -u

probe='
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    print("is Python %d.%d" % sys.version_info[:2])
    sys.exit(1)
try:
    import ensurepip, venv
except ImportError:
    print("makes no virtual environments; on Debian and Ubuntu: apt-get install python3-venv")
    sys.exit(1)
print(sys.executable)
'

[ $# -gt 0 ] || set -- python3.12 python3.11 python3.13 python3.14 python3 python
tried=
for candidate in "$@"; do
  answer=
  if ! command -v "$candidate" >/dev/null 2>&1; then
    reason="not found"
  elif answer=$("$candidate" -c "$probe" 2>/dev/null) && [ -x "$answer" ]; then
    echo "$answer"
    exit 0
  else
    reason=${answer:-does not run}
  fi
  tried="$tried
  $candidate: $reason"
done
echo "Cellar needs Python 3.11, 3.12, 3.13 or 3.14 with the module venv. Install one, or name one: make PYTHON=PATH.
Tried:$tried" >&2
exit 1
