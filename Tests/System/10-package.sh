# The package enables its socket, explains itself, keeps an operator's changes over an upgrade, and leaves nothing when purged.
check "the package enabled the socket" inside systemctl is-enabled jouled.socket
inside journalctl -x -u jouled MESSAGE_ID=5c1f0b6a7a3e4d0f9a5be2d8a1c40e06 --no-pager -o short >"$work/last"
grep -q "joulectl check-config" "$work/last" && grep -q "The policy that" "$work/last" && ok "journalctl -x explains an entry" || bad "no catalog text"
check "completions are bash" inside bash -n /usr/share/bash-completion/completions/joulectl
check "man pages are found" inside man -w joulectl jouled
inside joulectl status >"$work/last" 2>&1
before=$(inside systemctl show -P MainPID jouled.service)
check "upgrade" inside dpkg --force-confold -i /var/cache/jouled-test/jouled.deb
after=$(inside systemctl show -P MainPID jouled.service)
[[ $after != 0 && $after != "$before" ]] && ok "an upgrade restarts the running daemon" || bad "process $before before the upgrade, $after after it"
inside grep -q 'active = "unlimited"' /etc/jouled/jouled.toml && ok "an upgrade keeps the configuration" || bad "configuration lost"
check "serves after the upgrade" inside joulectl status
check "an operator switches the metrics on" inside systemctl enable --now jouled-metrics.timer
check "remove" inside dpkg -r jouled
[[ $(inside systemctl is-active jouled.service jouled.socket | sort -u) == inactive ]] && ok "removed units are stopped" || bad "units still active: $(inside systemctl is-active jouled.service jouled.socket)"
check "purge" inside dpkg -P jouled
left=$(inside find /etc /lib /usr /var -xdev \( -iname '*jouled*' -o -name 'joulectl*' \) -not -path '/var/tmp/*' -not -path '/var/cache/man/*' -not -path '/var/cache/jouled-test*' -not -path '/var/lib/jouled-signals*' -not -path '/etc/systemd/system/jouled.service.d*' 2>/dev/null)
[[ -z $left ]] && ok "purged without a trace" || { bad "left behind:"; echo "$left" | head; }
inside getent passwd jouled >/dev/null && bad "user left behind" || ok "no user left behind"
