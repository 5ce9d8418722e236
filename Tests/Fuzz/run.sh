#!/bin/bash
# usage: Tests/Fuzz/run.sh SECONDS [TARGET...]
# Builds the fuzz targets with libFuzzer and the address sanitizer, runs each for its share of SECONDS, and prints a line
# for each. Inputs that reach new code are kept for the next time in .cache/fuzz. Exits with 1 when a target failed: the
# input that it failed with is in Tests/Fuzz/Corpora then, as crash-*, leak-*, oom-* or timeout-*, and `make test` fails as well.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 64; }
cd "$(dirname "$0")/../.."
seconds=$1
shift
build=.build/fuzz
corpora=Tests/Fuzz/Corpora

# Everything is instrumented, the C code of packages too; libblkid and libzstd are Debian's and are not.
swift build -c release --scratch-path "$build" --target FuzzTargets -Xswiftc -sanitize=fuzzer,address \
    -Xcc -fsanitize=fuzzer-no-link,address >"$build.log" 2>&1 || { tail -n 40 "$build.log" >&2; exit 1; }
mapfile -t objects < <(find "$build/release/" -name '*.o' -not -path '*-tool.build/*')
libraries=$(pkg-config --libs blkid libzstd libudev libnl-route-3.0 libnftables)
# shellcheck disable=SC2086
swiftc -sanitize=fuzzer,address "${objects[@]}" $libraries -o "$build/fuzz"

declare -A limits
while read -r name size; do limits[$name]=$size; done < <(MUSTER_FUZZ_TARGET=list "$build/fuzz" -runs=0)
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(printf '%s\n' "${!limits[@]}" | sort)
share=$((seconds / ${#targets[@]}))
[ "$share" -gt 0 ] || share=1

# Event loops of tests keep what they have scheduled, which looks like a leak; memory is bounded by -rss_limit_mb.
export ASAN_OPTIONS=quarantine_size_mb=16:detect_leaks=${LEAKS:-0}
failed=0
kept=.cache/fuzz
mkdir -p "$kept"
log=$(mktemp)
stamp=$(mktemp)
trap 'rm -f "$log" "$stamp"' EXIT
printf '%-18s %10s %8s %8s %8s %8s\n' target runs corpus new crashes 'MiB max'
for target in "${targets[@]}"; do
    [ -n "${limits[$target]:-}" ] || { echo "There is no target '$target'." >&2; exit 66; }
    options=(-max_len="${limits[$target]}" -rss_limit_mb=1024 -malloc_limit_mb=256 -timeout=10)
    mkdir -p "$kept/$target" "$corpora/$target"
    count() { find "$corpora/$target" "$kept/$target" -type f | wc -l; }
    before=$(count)
    touch "$stamp"
    MUSTER_FUZZ_TARGET=$target "$build/fuzz" "${options[@]}" -max_total_time="$share" -print_final_stats=1 \
        -artifact_prefix="$corpora/$target/" "$kept/$target" "$corpora/$target" >"$log" 2>&1 || true
    figure() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1; }
    crashes=$(find "$corpora/$target" -newer "$stamp" -name '*-????????????????????????????????????????' | wc -l)
    if [ "$crashes" -gt 0 ] || ! grep -q '^Done ' "$log"; then
        failed=1
        tail -n 60 "$log" >&2
    fi
    new=$(($(count) - before))
    printf '%-18s %10s %8s %8s %8s %8s\n' "$target" "$(figure number_of_executed_units)" "$before" "$new" "$crashes" \
        "$(figure peak_rss_mb)"
done
exit $failed
