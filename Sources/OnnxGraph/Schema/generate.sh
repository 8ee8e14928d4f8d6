#!/bin/sh
# Writes ../Onnx.pb.swift from onnx.proto. Needs protoc (Debian: protobuf-compiler) and protoc-gen-swift of the
# swift-protobuf release in Package.resolved:
#   swift build -c release --product protoc-gen-swift --package-path .build/checkouts/swift-protobuf --scratch-path /tmp/protoc-gen-swift
#   PLUGIN=/tmp/protoc-gen-swift/release/protoc-gen-swift sh Sources/OnnxGraph/Schema/generate.sh
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
protoc --plugin=protoc-gen-swift="${PLUGIN:-$(command -v protoc-gen-swift)}" \
    --swift_opt=Visibility=Public --swift_out="$work" onnx.proto
mv "$work/onnx.pb.swift" ../Onnx.pb.swift
