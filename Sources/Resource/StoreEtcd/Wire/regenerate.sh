#!/bin/sh
# Makes etcd.pb.swift and etcd.grpc.swift anew from etcd.proto: regenerate.sh [--check]
# Needs Debian's protobuf-compiler; the plugins are built from the packages that the project depends on anyway.
# With --check nothing is written, and the exit status says whether the files are what the generators make.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../../.." && pwd)
command -v protoc >/dev/null || { echo "regenerate.sh: install protobuf-compiler first" >&2; exit 1; }
cd "$root"
for plugin in protoc-gen-swift protoc-gen-grpc-swift-2; do swift build --product "$plugin" >&2; done
bin=$(swift build --show-bin-path)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
protoc --proto_path="$here" \
    --plugin="$bin/protoc-gen-swift" --swift_opt=Visibility=Package --swift_out="$out" \
    --plugin="$bin/protoc-gen-grpc-swift-2" --grpc-swift-2_opt=Visibility=Package,Server=false --grpc-swift-2_out="$out" \
    etcd.proto
if [ "${1:-}" = --check ]; then
    for file in etcd.pb.swift etcd.grpc.swift; do diff -u "$here/$file" "$out/$file"; done
else
    cp "$out/etcd.pb.swift" "$out/etcd.grpc.swift" "$here/"
fi
