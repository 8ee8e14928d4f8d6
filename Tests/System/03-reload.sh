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

# A drop-in counts after a reload, one with a mistake is kept out and named, and a hold lasts as long as its holder.
mkdir -p "$root/etc/jouled/policies/unlimited.toml.d"
printf 'kind = "fixed"\nwatts = 0.25\n' >"$root/etc/jouled/policies/unlimited.toml.d/10-local.toml"
check "reload with a drop-in" inside systemctl reload jouled
within 3 eval 'inside joulectl power | grep -q "250 mW by policy"' && ok "the drop-in counts" || bad "the drop-in does not count"
printf 'wats = 1\n' >"$root/etc/jouled/policies/unlimited.toml.d/20-bad.toml"
inside joulectl check-config /etc/jouled/policies/unlimited.toml 2>&1 | grep -q "unlimited.toml.d/20-bad.toml:1: key 'wats'" && ok "a bad drop-in is named" || bad "a bad drop-in is not named"
rm -r "$root/etc/jouled/policies/unlimited.toml.d"
check "reload without it" inside systemctl reload jouled
check "a hold shows in status while its command runs" inside joulectl hold --policy fixed --reason test -- sh -c 'joulectl status | grep -q "hold:.*policy fixed"'
within 3 eval '! inside joulectl status | grep -q hold:' && ok "and is gone with it" || bad "a hold outlives its command"
