#!/bin/bash
# usage: Tests/Fuzz/run.sh CODEC SECONDS
# Builds Tests/Fuzz/CODEC with libFuzzer and the address sanitizer, runs it for SECONDS, and leaves new inputs that
# reach new code in Tests/Fuzz/CODEC/corpus. Exits non-zero when an input fails; that input is kept there as well.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 64; }
cd "$(dirname "$0")/../.."
folder="Tests/Fuzz/$1"
[ -d "$folder" ] || { echo "There is no fuzz target '$1'; see the folders of Tests/Fuzz." >&2; exit 66; }
case "$1" in
dhcp) sources=(Sources/Base/Primitives Sources/Base/WireCoding Sources/Protocol/DHCP) ;;
tftp) sources=(Sources/Base/Primitives Sources/Base/WireCoding Sources/Protocol/TFTP) ;;
*) echo "Tell Tests/Fuzz/run.sh which sources the fuzz target '$1' needs." >&2; exit 66 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# All sources become one module, so that no interface between modules hides code from the fuzzer: their imports of each
# other are dropped.
modules=$(for source in "${sources[@]}"; do basename "$source"; done | paste -sd'|')
mkdir "$work/sources"
for source in "${sources[@]}"; do
    for file in "$source"/*.swift; do
        sed -E "s/^import ($modules)$//" "$file" >"$work/sources/$(basename "$source")-$(basename "$file")"
    done
done
cp "$folder"/*.swift "$work/sources/"
swiftc -O -swift-version 6 -parse-as-library -sanitize=fuzzer,address -module-name Fuzz \
    "$work"/sources/*.swift -o "$work/fuzz"
mkdir -p "$work/corpus" "$folder/corpus"
"$work/fuzz" -max_total_time="$2" -max_len=1500 -timeout=5 -print_final_stats=1 \
    -artifact_prefix="$folder/corpus/" "$work/corpus" "$folder/corpus"
"$work/fuzz" -merge=1 -max_len=1500 "$folder/corpus" "$work/corpus"
echo "$(find "$folder/corpus" -type f | wc -l) inputs in $folder/corpus"
