# Eight live streams over a restart and an upgrade of the package: no client is closed, no sample is lost, the ledger goes on.
inside joulectl status >"$work/last" 2>&1
clients=()
for number in 1 2 3 4 5 6 7 8; do
    inside bash -c "joulectl stream silero-vad -q --pace --tolerance 100ms --name live$number < /var/lib/jouled-signals/speech-short.s16le > /var/live$number.jsonl 2>/var/live$number.err" &
    clients+=($!)
done
live() { inside joulectl status --json | python3 -c 'import json,sys; sys.exit(sum(s["windows"] > 3 for s in json.load(sys.stdin)["streams"]) != 8)'; }
# joulectl shows the ledger to people only; programs call the method.
total() { inside python3 -c 'import json,socket; c=socket.socket(socket.AF_UNIX); c.connect("/run/jouled/jouled.sock"); c.sendall(b"{\"method\":\"io.jouled.Streams.Ledger\"}\0"); r=b"".join(iter(lambda: c.recv(1), b"\0")); print(round(sum(e["joules"] for e in json.loads(r)["parameters"]["entries"]), 9))'; }
within 8 live && ok "eight live streams" || bad "no eight live streams: $(inside joulectl status)"
before=$(total) old=$(inside systemctl show -P MainPID jouled.service)
begin=$(now_ms)
check "systemctl restart" inside systemctl restart jouled.service
took=$(($(now_ms) - begin))
within 5 live && [[ $(inside systemctl show -P MainPID jouled.service) != "$old" ]] && ok "a restart in $took ms keeps eight streams" || bad "streams after the restart: $(inside joulectl status)"
after=$(total)
awk -v a="$before" -v b="$after" 'BEGIN{exit !(a > 0 && b >= a)}' && ok "the ledger goes on: $before J, then $after J" || bad "ledger: $before J, then $after J"
check "upgrade with live streams" inside dpkg --force-confold -i /var/cache/jouled-test/jouled.deb
within 5 live && ok "an upgrade keeps eight streams" || bad "streams after the upgrade: $(inside joulectl status)"
for client in "${clients[@]}"; do wait "$client"; done
expected=$(($(stat -c %s "$root/var/lib/jouled-signals/speech-short.s16le") / 1024))
for number in 1 2 3 4 5 6 7 8; do
    got=$(wc -l <"$root/var/live$number.jsonl")
    [[ $got == "$expected" ]] || { bad "stream $number: $got windows of $expected"; cat "$root/var/live$number.err"; continue; }
done
python3 - "$root" <<'PY' && ok "all $expected windows of all eight streams, the same as without a restart" || bad "windows differ"
import json, sys
streams = [[(w["end"], w["speech_probability"]) for w in map(json.loads, open(f"{sys.argv[1]}/var/live{n}.jsonl"))] for n in range(1, 9)]
reference = [(w["end"], w["values"][0]) for w in map(json.loads, open(f"{sys.argv[1]}/var/lib/jouled-signals/reference.jsonl"))]
for stream in streams:
    assert [end for end, _ in stream] == [end for end, _ in reference[:len(stream)]]
    assert max(abs(a - b) for (_, a), (_, b) in zip(stream, reference)) < 1e-4
PY
