#!/usr/bin/env bash
# systemd's own Varlink client, varlinkctl 257 of Debian 13, against jouled: run.sh JOULED BUNDLES RUNTIME-LIBRARY
#
# Debian 12 has no varlinkctl, so Debian 13's packages are unpacked into .deps/varlinkctl, nothing is installed, and the program runs through its own
# dynamic loader. apt checks the archive's signatures with the keys that this Debian trusts already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
jouled=$1 bundles=$2 runtime=$3 root=${VARLINKCTL_ROOT:-.deps/varlinkctl}
packages=(systemd libsystemd-shared libc6 libcap2 libmount1 libblkid1 libselinux1 libpcre2-8-0 libcrypt1 libacl1 libseccomp2 libaudit1 libcap-ng0
    libpam0g libssl3t64 libgcc-s1 libzstd1 zlib1g libkmod2)

if [[ ! -e $root/usr/bin/varlinkctl ]]; then
    echo "==> fetching varlinkctl of Debian 13"
    work=$(mktemp -d)
    mkdir -p "$work"/{lists/partial,cache/archives/partial} "$root"
    # shellcheck disable=SC2016 # apt's own variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | head -n 1)
    printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$mirror" >"$work/debian.sources"
    options=(-qq -o "Dir::Etc::sourcelist=$work/debian.sources" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
        -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    (cd "$work/cache" && apt-get "${options[@]}" download "${packages[@]}")
    for package in "$work"/cache/*.deb; do dpkg -x "$package" "$root"; done
    rm -rf "$work"
fi
library=$(echo "$root"/usr/lib/*-linux-gnu)
loader=$(echo "$library"/ld-linux-*.so.*)
varlinkctl() { "$loader" --library-path "$library:$library/systemd" "$root/usr/bin/varlinkctl" "$@"; }

state=$(mktemp -d /tmp/jouled-varlinkctl.XXXXXX)
socket=$state/s
mkdir "$state/policies"
printf 'kind = "unlimited"\n' >"$state/policies/unlimited.toml"
printf '[socket]\npath = "%s"\n[models]\ndirectory = "%s"\n[runtime]\nlibrary = "%s"\n[state]\ndirectory = "%s"\n[policy]\ndirectory = "%s/policies"\nactive = "unlimited"\n[power]\nsource = "virtual"\n' \
    "$socket" "$bundles" "$runtime" "$state" "$state" >"$state/jouled.toml"
"$jouled" --config "$state/jouled.toml" --stderr 2>"$state/journal" &
daemon=$!
trap 'kill $daemon 2>/dev/null || true; wait $daemon 2>/dev/null || true; rm -rf "$state"' EXIT
for ((i = 0; i < 100; i++)); do [[ -S $socket ]] && break; sleep 0.1; done

passed=0 failed=0
check() { # check WHAT COMMAND...: the command must succeed
    local what=$1
    shift
    if "$@" >"$state/out" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $what"; cat "$state/out"; fi
}
says() { grep -qF -- "$1" "$state/out" || { failed=$((failed + 1)); echo "FAILED: '$1' is not said:"; cat "$state/out"; }; }
refuses() { # refuses ERROR METHOD PARAMETERS: varlinkctl must fail and name the error
    if varlinkctl call "$socket" "$2" "$3" >"$state/out" 2>&1; then failed=$((failed + 1)); echo "FAILED: $2 $3 was accepted"; else passed=$((passed + 1)); says "$1"; fi
}

varlinkctl --version | head -n 1
check info varlinkctl info "$socket"
says "Product: jouled"
check list-interfaces varlinkctl list-interfaces "$socket"
mapfile -t interfaces <"$state/out"
((${#interfaces[@]} >= 7)) || { failed=$((failed + 1)); echo "FAILED: ${#interfaces[@]} interfaces"; }
for interface in "${interfaces[@]}"; do
    check "introspect $interface" varlinkctl introspect "$socket" "$interface"
    varlinkctl call -j "$socket" org.varlink.service.GetInterfaceDescription "{\"interface\":\"$interface\"}" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["description"])' >"$state/$interface.varlink"
    check "validate-idl $interface" varlinkctl validate-idl "$state/$interface.varlink"
done
check "call GetStatus" varlinkctl call -j "$socket" io.jouled.Power.GetStatus '{}'
says '"policy":"unlimited"'
check "call Models.List" varlinkctl call -j "$socket" io.jouled.Models.List '{}'
says '"silero-vad"'
check "call with --oneway" varlinkctl call --oneway "$socket" io.jouled.Policy.Reload '{}'
refuses io.jouled.Policy.UnknownPolicy io.jouled.Policy.Set '{"name":"nonesuch"}'
refuses org.varlink.service.InvalidParameter io.jouled.Policy.Set '{"colour":"red"}'
refuses org.varlink.service.MethodNotFound io.jouled.Power.Nonesuch '{}'
refuses org.varlink.service.ExpectedUpgrade io.jouled.Streams.Open '{"model":"silero-vad","sampleRateHz":16000}'
# A monitor: the present state, then a change. varlinkctl ends when the daemon goes.
varlinkctl call -j --more "$socket" io.jouled.Power.GetStatus '{}' >"$state/monitor" 2>&1 &
monitor=$!
for ((i = 0; i < 100; i++)); do (($(grep -c '"continues"\|"policy"' "$state/monitor" || true) > 0)) && break; sleep 0.1; done
varlinkctl call "$socket" io.jouled.VirtualDevice.Set '{"chargerPluggedIn":true}' >/dev/null
for ((i = 0; i < 100; i++)); do grep -q '"acOnline":true' "$state/monitor" && break; sleep 0.1; done
check "call --more" grep -q '"acOnline":true' "$state/monitor"
kill $monitor 2>/dev/null || true
echo "$passed passed, $failed failed"
((failed == 0))
