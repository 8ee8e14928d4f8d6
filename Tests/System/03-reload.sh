# A good policy is taken, a bad one is kept out and explained; the process stays.
check "reload" inside systemctl reload jouled
printf 'kind = "fixed"\nwats = 1\n' >"$root/etc/jouled/policies/unlimited.toml.new"
inside bash -c 'cp /etc/jouled/policies/unlimited.toml /tmp/good && cp /etc/jouled/policies/unlimited.toml.new /etc/jouled/policies/unlimited.toml && rm /etc/jouled/policies/unlimited.toml.new'
inside systemctl reload jouled
within 3 eval 'inside systemctl show -P StatusText jouled.service | grep -q "unlimited.toml:2"' && ok "bad policy in status: $(inside systemctl show -P StatusText jouled.service)" || bad "bad policy not in status: $(inside systemctl show -P StatusText jouled.service)"
inside journalctl -u jouled MESSAGE_ID=5c1f0b6a7a3e4d0f9a5be2d8a1c40e06 -o cat --no-pager | grep -q "unlimited.toml:2.*wats" && ok "bad policy in the journal with file, line and key" || bad "bad policy not in the journal"
inside cp /tmp/good /etc/jouled/policies/unlimited.toml
check "reload again" inside systemctl reload jouled
[[ $(inside systemctl show -P MainPID jouled.service) == "$pid" ]] && ok "same process" || bad "process changed"
