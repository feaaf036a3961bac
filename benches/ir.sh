#!/usr/bin/env bash
# Instructions per match under callgrind, as CSV: engine,workload,size,instructions.
# Counted are K matches and then 2 K; the difference is divided by K, so that the first calls and
# the loop's own start do not count.
# usage: ir.sh [SIZE ...]          ENGINES and WORKLOADS (regular expressions) choose among them
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --profile ir -p gateway-benches --bin ir
bin=${CARGO_TARGET_DIR:-target}/ir/ir

count() {
  timeout 300 valgrind --tool=callgrind --callgrind-out-file=/dev/null \
    --toggle-collect='*measured*' "$bin" "$@" 2>&1 | awk '/Collected/ { print $NF }'
}

"$bin" list | while read -r engine workload; do
  [[ $engine =~ ^(${ENGINES:-.*})$ && $workload =~ ^(${WORKLOADS:-.*})$ ]] || continue
  for size in "${@:-1000}"; do
    # Expressions are costly to build under a profiler, a scan of everything is to run.
    [[ $workload == regex* && $size -gt 1000 ]] && continue
    matches=1024
    [[ $engine == linear && $size -gt 1000 ]] && matches=16
    one=$(count "$engine" "$workload" "$size" "$matches" </dev/null || true)
    two=$(count "$engine" "$workload" "$size" $((2 * matches)) </dev/null || true)
    if [[ -n $one && -n $two ]]; then
      echo "$engine,$workload,$size,$(((two - one) / matches))"
    else
      echo "$engine,$workload,$size,timeout"
    fi
  done
done
