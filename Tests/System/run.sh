#!/usr/bin/env bash
# Boots real systemd and journald in a container on an overlay of this machine's root, installs the Debian package into it, and
# runs the numbered scenarios beside this script. Needs root, systemd-container and the package (make deb).
#
# The manager never runs on the machine's own root: it would empty /tmp and start services. The overlay and the
# process that this script started are all that it touches, and every wait has a limit.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
[[ $EUID == 0 ]] || { echo "test-system: skipped: needs root"; exit 0; }
command -v systemd-nspawn >/dev/null || { echo "test-system: skipped: systemd-nspawn is missing (apt-get install systemd-container)"; exit 0; }

work=$(mktemp -d /var/tmp/jouled-system.XXXXXX)
container= leader= passed=0 failed=0
now_ms() { echo $(($(date +%s%N) / 1000000)); }
ok() { passed=$((passed + 1)); echo "ok   $*"; }
bad() { failed=$((failed + 1)); echo "FAIL $*"; }
check() { local what=$1; shift; if "$@" >"$work/last" 2>&1; then ok "$what"; else bad "$what"; sed 's/^/     /' "$work/last" | tail -5; fi; }
inside() { timeout 30 nsenter -t "$leader" -a "$@"; }
# Waits at most $1 seconds for the rest of the line to succeed.
within() { local limit=$(($(now_ms) + $1 * 1000)); shift; until "$@" >"$work/last" 2>&1; do (($(now_ms) < limit)) || return 1; sleep 0.05; done; }

cleanup() {
    if [[ -n $container ]] && kill -0 "$container" 2>/dev/null; then
        [[ -n $leader ]] && timeout 3 nsenter -t "$leader" -a systemctl poweroff --no-block 2>/dev/null
        for _ in $(seq 60); do kill -0 "$container" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$container" 2>/dev/null
        [[ -n $leader ]] && kill -KILL "$leader" 2>/dev/null
        wait "$container" 2>/dev/null
    fi
    for _ in $(seq 20); do mountpoint -q "$work/root" || break; umount "$work/root" 2>/dev/null && break; sleep 0.1; done
    mountpoint -q "$work/root" && umount -l "$work/root"
    rm -rf --one-file-system "$work"
    echo "$passed passed, $failed failed"
    exit $((failed > 0))
}
trap cleanup EXIT
trap 'failed=$((failed + 1)); exit 1' INT TERM

mkdir -p "$work"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root" || { bad "overlay"; exit 1; }
root=$work/root
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
# Build machines forbid that packages start services; the container is there for just that.
rm -f "$root/usr/sbin/policy-rc.d"
mkdir -p "$root/etc/systemd/system" "$root/etc/systemd/journald.conf.d"
# Services of the machine that have no business in the container.
for unit in $(cd "$root/lib/systemd/system" && ls -- *.timer 2>/dev/null) postgresql.service redis-server.service nginx.service docker.service docker.socket containerd.service systemd-timesyncd.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/test.conf"

package=$(ls -t "$top"/.build/deb/jouled_*.deb 2>/dev/null | head -1)
[[ -n $package ]] || { bad "no package: make deb"; exit 1; }
mkdir -p "$root/var/cache/jouled-test"
cp "$package" "$root/var/cache/jouled-test/jouled.deb"
timeout 120 chroot "$root" dpkg -i /var/cache/jouled-test/jouled.deb >"$work/install.log" 2>&1 || { bad "dpkg -i"; tail -5 "$work/install.log"; exit 1; }
mkdir -p "$root/var/lib/jouled" "$root/etc/jouled"
cp -r "$top/.deps/bundles" "$root/var/lib/jouled/models"
# Models that hang, for the scenarios about them.
PYTHONPATH="$top/Benchmarks/faults" "$top/.deps/venv/bin/python" - "$top/.deps" "$root/var/lib/jouled/models" <<'PY' || { bad "models that hang"; exit 1; }
import pathlib, sys
from scene import bad_model
for kind in ("loop", "kernel"):
    bad_model(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), kind)
PY
cp -r "$top/.deps/signals" "$root/var/lib/jouled-signals"
# Fourteen seconds of the recording: time for a restart and an upgrade.
head -c $((512 * 2 * 440)) "$top/.deps/signals/speech.s16le" >"$root/var/lib/jouled-signals/speech-short.s16le"
cp "$top/.deps/references/silero-vad-fp32.jsonl" "$root/var/lib/jouled-signals/reference.jsonl"
cat >"$root/etc/jouled/jouled.toml" <<'TOML'
[power]
source = "virtual"
poll = "1s"
[policy]
active = "unlimited"
TOML
mkdir -p "$root/etc/systemd/system/jouled.service.d"
printf '[Service]\nWatchdogSec=3s\nWatchdogSignal=SIGKILL\n' >"$root/etc/systemd/system/jouled.service.d/quick.conf"

SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout -s KILL "${JOULED_SYSTEM_LIMIT:-600}" systemd-nspawn -q -D "$root" --boot --register=no --keep-unit \
    --private-network --console=pipe --machine="jouled$$" >"$work/console.log" 2>&1 </dev/null &
container=$!
state=
for _ in $(seq 400); do
    # The child of timeout is nspawn, whose child is the container's first process.
    child=$(cat "/proc/$container/task/$container/children" 2>/dev/null); child=${child%% *}
    [[ -n $child ]] && leader=$(awk '{print $1}' "/proc/$child/task/$child/children" 2>/dev/null)
    [[ -n $leader ]] && state=$(timeout 2 nsenter -t "$leader" -a systemctl is-system-running 2>/dev/null)
    [[ $state == running || $state == degraded ]] && break
    kill -0 "$container" 2>/dev/null || { bad "container died"; tail -5 "$work/console.log"; exit 1; }
    sleep 0.05
done
[[ $state == running || $state == degraded ]] || { bad "boot: $state"; tail -20 "$work/console.log"; exit 1; }
ok "systemd $(inside systemctl --version | awk 'NR==1{print $2}') booted ($state)"

for scenario in "$here"/[0-9][0-9]-*.sh; do
    echo "--- $(basename "$scenario" .sh)"
    # shellcheck source=/dev/null
    . "$scenario"
done
