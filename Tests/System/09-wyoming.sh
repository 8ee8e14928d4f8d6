# The Wyoming endpoint: off until it is wanted, started by its socket, a user of its own with no rights but to stream.
[[ $(inside systemctl is-enabled jouled-wyoming.socket) == disabled ]] && ok "wyoming: off by default" || bad "wyoming is enabled without being asked for"
inside systemd-analyze verify jouled-wyoming.service jouled-wyoming.socket >"$work/last" 2>&1 && [[ ! -s $work/last ]] && ok "wyoming: units are valid" || bad "wyoming: $(head -3 "$work/last")"
check "wyoming: enable" inside systemctl enable --now jouled-wyoming.socket
cat >"$root/var/lib/jouled-signals/wyoming.py" <<'PY'
import json, socket, subprocess
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect("/run/jouled/wyoming.sock")
def send(kind, data, payload=b""):
    s.sendall(json.dumps({"type": kind, "data": data, "payload_length": len(payload)}).encode() + b"\n" + payload)
form = {"rate": 16000, "width": 2, "channels": 1}
audio = open("/var/lib/jouled-signals/speech-short.s16le", "rb").read()
send("audio-start", form)
for at in range(0, 64000, 2048):
    send("audio-chunk", form, audio[at : at + 2048])
answer = s.makefile("rb").readline().decode()
status = json.loads(subprocess.run(["joulectl", "status", "--json"], capture_output=True, check=True).stdout)
print("first:", answer.strip(), [(stream["name"], stream["uid"] > 0) for stream in status.get("streams", [])])
PY
inside python3 /var/lib/jouled-signals/wyoming.py >"$work/last" 2>&1
grep -q "voice-started" "$work/last" && ok "wyoming: speech is told" || { bad "wyoming: no speech"; cat "$work/last"; inside journalctl -u jouled-wyoming --no-pager -n 5; }
grep -q "('wyoming', True)" "$work/last" && ok "wyoming: its streams are another user's than root's" || { bad "wyoming: whose stream?"; cat "$work/last"; }
score=$(inside systemd-analyze security --no-pager jouled-wyoming.service | tail -1 | grep -o '[0-9]\.[0-9]' | head -1)
[[ $score == 0.* ]] && ok "wyoming: exposure $score" || bad "wyoming: exposure $score"
[[ $(inside systemctl show -P NRestarts jouled-wyoming.service) == 0 ]] && ok "wyoming: never restarted" || bad "wyoming: restarted"
check "wyoming: disable" inside systemctl disable --now jouled-wyoming.socket
inside systemctl stop jouled-wyoming.service
[[ $(inside systemctl show -P Result jouled-wyoming.service) == success ]] && ok "wyoming: stops in order" || bad "wyoming: $(inside systemctl show -P Result jouled-wyoming.service)"
# Left on, for the package to clear away.
inside systemctl enable --now jouled-wyoming.socket >/dev/null 2>&1
