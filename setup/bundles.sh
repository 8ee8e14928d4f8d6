#!/usr/bin/env bash
# Builds the model bundles with joulectl, and what Python's onnxruntime answers for each of their variants. See --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: setup/bundles.sh --stale
       setup/bundles.sh JOULECTL

Runs `joulectl model build` on each recipe in setup/models, puts the bundles into .deps/bundles/NAME/1, and writes the
reference results of their variants to .deps/references. A bundle is left alone while its recipe, contract and data, the
quantizer's sources, ONNX Runtime and the processor's 8-bit instructions are those that it was built with.

  --stale      only say whether a bundle has to be built: status 0 if so, 1 if not
  JOULECTL     the program to build them with (a release build: a debug build takes 20 times as long)

Environment: JOULED_DEPS, the directory that setup.sh filled (default: .deps at the top of the clone)
TEXT
}

[[ $# == 1 && $1 != -h && $1 != --help ]] || { usage; exit $(($# == 1 ? 0 : 64)); }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
deps=${JOULED_DEPS:-$top/.deps}
deps=$(cd "$deps" && pwd)
readonly here top deps
library=$(compgen -G "$deps/lib/libonnxruntime.so.*") || { echo "bundles: $deps/lib has no ONNX Runtime: run setup/setup.sh" >&2; exit 1; }

stamp_of() { # NAME
    {
        cat "$here/models/$1.toml" "$here/models/$1.contract.toml" "$here/reference.py" "$here/bundles.sh" "$deps/stamp"
        for module in Quantizer OnnxGraph ModelStore; do
            find "$top/Sources/$module" -name '*.swift' -print0 | LC_ALL=C sort -z | xargs -0 cat
        done
        basename "$library"
        grep -cm1 vnni /proc/cpuinfo || true
    } | sha256sum | cut -d' ' -f1
}
stamped() { [[ -e $deps/bundles/$1/1/model.toml && -e $deps/building/$1.stamp && $(<"$deps/building/$1.stamp") == "$(stamp_of "$1")" ]]; }

stale=()
for recipe in "$here"/models/*.toml; do
    name=$(basename "$recipe" .toml)
    [[ $name == *.contract ]] || stamped "$name" || stale+=("$name")
done
if [[ $1 == --stale ]]; then
    ((${#stale[@]})) || exit 1
    echo "bundles to build: ${stale[*]}"
    exit 0
fi

mkdir -p "$deps/building" "$deps/bundles" "$deps/references"
exec 9>"$deps/lock"
flock 9
export ORT_DISABLE_TELEMETRY=1
for name in ${stale[@]+"${stale[@]}"}; do
    stamped "$name" && continue # another run may have built it meanwhile
    stamp=$(stamp_of "$name")
    store=$deps/building/$name
    rm -rf "$store"
    recipe=$here/models/$name.toml
    if [[ $deps != "$top/.deps" ]]; then # recipes name .deps of the clone
        mkdir -p "$store.recipe"
        for file in "$name.toml" "$name.contract.toml"; do sed "s|\.\./\.\./\.deps/|$deps/|" "$here/models/$file" >"$store.recipe/$file"; done
        recipe=$store.recipe/$name.toml
    fi
    "$1" model build "$recipe" --store "$store" --runtime-library "$library"
    bundle=$store/$name/1
    for file in "$bundle"/*.onnx; do
        variant=$(basename "$file" .onnx)
        "$deps/venv/bin/python" "$here/reference.py" "$bundle" "$variant" "$deps/signals" >"$bundle/$variant.jsonl"
    done
    rm -f "$deps/references/$name"-*.jsonl "$deps/building/$name.stamp"
    for file in "$bundle"/*.jsonl; do mv "$file" "$deps/references/$name-$(basename "$file")"; done
    rm -rf "$deps/bundles/${name:?}"
    mkdir "$deps/bundles/$name"
    mv "$bundle" "$deps/bundles/$name/1"
    rm -rf "$store" "$store.recipe"
    printf '%s\n' "$stamp" >"$deps/building/$name.stamp"
done
