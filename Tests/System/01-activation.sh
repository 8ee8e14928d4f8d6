# A client on the socket starts the service; it is ready only when it can serve.
check "units are valid" inside systemd-analyze verify jouled.service jouled.socket
check "the socket listens before the service runs" inside systemctl is-active jouled.socket
[[ $(inside systemctl is-active jouled.service) == inactive ]] && ok "service not started yet" || bad "service started early"
begin=$(now_ms)
first=$(inside bash -c 'head -c 32768 /var/lib/jouled-signals/speech.s16le | joulectl stream silero-vad -q' 2>"$work/last" | head -1)
took=$(($(now_ms) - begin))
[[ $first == *speech_probability* ]] && ok "cold activation to results in $took ms" || { bad "cold activation: $first"; cat "$work/last"; }
check "service is active" inside systemctl is-active jouled.service
inside systemctl show -P StatusText jouled.service | grep -q "policy unlimited" && ok "status: $(inside systemctl show -P StatusText jouled.service)" || bad "StatusText"
pid=$(inside systemctl show -P MainPID jouled.service)
[[ $(inside awk '/^Uid/{print $2}' "/proc/$pid/status") != 0 ]] && ok "does not run as root" || bad "runs as root"
