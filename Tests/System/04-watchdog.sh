# Fed while all is well; a stopped daemon is killed and comes back.
sleep 4
[[ $(inside systemctl show -P MainPID jouled.service) == "$pid" ]] && ok "alive after the watchdog's time" || bad "killed although well"
[[ $pid -gt 1 ]] && inside kill -STOP "$pid"
within 12 eval '[[ $(inside systemctl show -P NRestarts jouled.service) -ge 1 ]]' && ok "a stopped daemon is restarted" || bad "a stopped daemon stays"
within 5 inside systemctl is-active jouled.service
check "serves after the restart" inside joulectl status
