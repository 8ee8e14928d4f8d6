# Each documented relaxation of the sandbox is valid, costs what the documentation says, and leaves a daemon that serves.
# The group that owns render nodes; machines with udev have it.
inside getent group render >/dev/null || inside groupadd -r render
drop_ins=/usr/share/doc/jouled/drop-ins
for name in accelerator netlink energy-counters; do
    inside cp "$drop_ins/$name.conf" /etc/systemd/system/jouled.service.d/
    inside systemctl daemon-reload
    inside systemd-analyze verify jouled.service >"$work/last" 2>&1 && [[ ! -s $work/last ]] || { bad "$name: $(head -3 "$work/last")"; }
    score=$(inside systemd-analyze security --no-pager jouled.service | tail -1 | grep -o '[0-9]\.[0-9]' | head -1)
    inside systemctl restart jouled.service
    answer=$(inside bash -c 'head -c 32768 /var/lib/jouled-signals/speech.s16le | joulectl stream silero-vad -q' 2>"$work/last" | head -1)
    [[ $answer == *speech_probability* ]] && ok "with $name: serves, exposure $score" || { bad "with $name: $answer"; cat "$work/last"; }
    inside rm "/etc/systemd/system/jouled.service.d/$name.conf"
done
inside systemctl daemon-reload
inside systemctl restart jouled.service
[[ $(inside systemctl show -P Slice jouled.service) == jouled.slice ]] && ok "runs in its slice" || bad "slice: $(inside systemctl show -P Slice jouled.service)"
