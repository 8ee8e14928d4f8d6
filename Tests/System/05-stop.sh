# The shipped sandbox scores well, and the service stops in order with a live stream.
score=$(inside systemd-analyze security --no-pager jouled.service | tail -1 | grep -o '[0-9]\.[0-9]' | head -1)
awk -v s="$score" 'BEGIN{exit !(s <= 0.8)}' && ok "exposure $score" || bad "exposure $score"
inside bash -c 'joulectl stream silero-vad -q --pace < /var/lib/jouled-signals/speech.s16le > /tmp/live.jsonl 2>/tmp/live.err' &
client=$!
within 5 eval 'inside joulectl status --json | grep -q "\"windows\":[1-9]"' && ok "a live stream" || bad "no live stream"
begin=$(now_ms)
check "stop" inside systemctl stop jouled.service
took=$(($(now_ms) - begin))
[[ $(inside systemctl show -P Result jouled.service) == success && $took -lt 2000 ]] && ok "stopped in order in $took ms" || bad "stop took $took ms, result $(inside systemctl show -P Result jouled.service)"
wait "$client"
inside journalctl -u jouled -p err --no-pager -q -o cat | grep -v -i -e watchdog -e refused >"$work/last"
[[ ! -s $work/last ]] && ok "no errors in the journal" || { bad "errors in the journal"; cat "$work/last"; }
