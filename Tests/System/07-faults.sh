# Under the shipped sandbox: models that hang, memory that is short, and a start that takes its time.
inside joulectl status >"$work/last" 2>&1
pid=$(inside systemctl show -P MainPID jouled.service)
begun=$(inside systemctl show -P ExecMainStartTimestampMonotonic jouled.service) ready=$(inside systemctl show -P ActiveEnterTimestampMonotonic jouled.service)
ready=$(((ready - begun) / 1000))
((ready >= 0 && ready < 1000)) && ok "READY after $ready ms" || bad "READY after $ready ms"
# Speech with three windows at full scale in it, on the second of which those models hang.
python3 - "$root/var/lib/jouled-signals/speech.s16le" "$root/var/bad.s16le" <<'PY'
import sys
speech = open(sys.argv[1], "rb").read()
open(sys.argv[2], "wb").write(speech[:102400] + b"\xff\x7f" * 1536 + speech[102400:153600])
PY
for kind in loop kernel; do
    inside bash -c "joulectl stream bad-$kind -q < /var/bad.s16le" >"$work/hang.jsonl" 2>"$work/last"
    got=$(wc -l <"$work/hang.jsonl") expected=$((($(stat -c %s "$root/var/bad.s16le") + 1023) / 1024))
    [[ $got == "$expected" ]] && ok "a model that hangs ($kind): all $got windows answered" || { bad "$kind: $got windows of $expected"; cat "$work/last"; }
done
inside journalctl -u jouled -o cat --no-pager MESSAGE_ID=5c1f0b6a7a3e4d0f9a5be2d8a1c40e0b >"$work/last"
grep -q "its run is ended" "$work/last" && grep -q "its thread is given up" "$work/last" && ok "the journal tells of both" || { bad "no entry of a model that hangs"; cat "$work/last"; }
inside journalctl -x -u jouled --no-pager MESSAGE_ID=5c1f0b6a7a3e4d0f9a5be2d8a1c40e0b | grep -q "its stream goes on with another variant" && ok "journalctl -x explains it" || bad "no catalog text"
[[ $(inside systemctl show -P MainPID jouled.service) == "$pid" ]] && ok "the same process" || bad "the process changed"

inside journalctl -u jouled -o cat --no-pager | grep "Memory pressure is not watched" >"$work/last" && { bad "memory is not watched"; cat "$work/last"; } || ok "memory pressure is watched"
# Programs that read more than their control group may hold wait for memory, and the kernel tells of pressure on the whole machine.
group=/sys/fs/cgroup/memory limit=memory.limit_in_bytes
[[ -e $group/$limit ]] || { group=/sys/fs/cgroup limit=memory.max; }
group=$group/jouled-test-$$
if mkdir "$group" 2>/dev/null && echo $((20 << 20)) >"$group/$limit" 2>/dev/null; then
    hogs=()
    for hog in 1 2; do
        (echo "$BASHPID" >"$group/cgroup.procs"; exec timeout 30 python3 "$here/pressure.py" "$work/hog$hog" 25) &
        hogs+=($!)
    done
    told() { inside journalctl -u jouled -o cat --no-pager MESSAGE_ID=5c1f0b6a7a3e4d0f9a5be2d8a1c40e10 | grep -q "Memory is short"; }
    within 25 told && ok "real memory pressure is told: $(inside journalctl -u jouled -o cat --no-pager MESSAGE_ID=5c1f0b6a7a3e4d0f9a5be2d8a1c40e10 | tail -1)" || bad "no word of memory pressure: $(head -1 /proc/pressure/memory)"
    kill "${hogs[@]}" 2>/dev/null
    wait "${hogs[@]}" 2>/dev/null
    rm -f "$work"/hog[12]
else
    echo "skipped: no memory control group can be made here, so that memory is never short"
fi
within 5 rmdir "$group"
