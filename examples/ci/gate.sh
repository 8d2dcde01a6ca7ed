#!/usr/bin/env bash
# A gate for any pipeline: gate.sh RESULTS EXPERIMENT...
#
# Carries the experiments out, leaves report.html, report.md, report.json and junit.xml
# in RESULTS whatever the verdict is, and exits as faultline does:
#   0 passed   1 failed   3 inconclusive   4 aborted   2, 5 nothing was started   6 something is still broken
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 RESULTS EXPERIMENT..." >&2
  exit 2
fi
results=$1
shift
mkdir -p "$results"

# A mistake in a file is told before anything is touched.
faultline validate "$@"

code=0
faultline run --no-input --out "$results" "$@" || code=$?

if [ $code -eq 6 ]; then
  # The one case that must not wait for a human: heal, or say by name what is left.
  faultline undo --all --no-input || true
fi
exit $code
