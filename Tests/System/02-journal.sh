# Decisions are entries with stable fields.
entry=$(inside journalctl -u jouled MESSAGE_ID=5c1f0b6a7a3e4d0f9a5be2d8a1c40e01 -o json --no-pager | tail -1)
python3 - "$entry" <<'PY' && ok "a decision's fields" || bad "a decision's fields: $entry"
import json, sys
entry = json.loads(sys.argv[1])
for field in ("JOULED_FROM", "JOULED_TO", "JOULED_BUDGET_W", "JOULED_BATTERY_PERCENT", "JOULED_PREDICTED_W",
              "JOULED_BINDING_CONSTRAINT", "JOULED_RUNNER_UP", "JOULED_TRIGGER", "CODE_FILE", "CODE_LINE"):
    assert field in entry, field
assert entry["SYSLOG_IDENTIFIER"] == "jouled" and entry["_SYSTEMD_UNIT"] == "jouled.service" and entry["PRIORITY"] == "5"
PY

# Decisions are made again from what the journal kept of them, in both forms that journalctl writes.
for form in "-o export" "-o json --all"; do
    check "decisions made again from journalctl $form" inside bash -c "journalctl -u jouled --no-pager $form | joulectl replay"
done
check "what another policy would have decided" inside bash -c 'journalctl -u jouled -o export --no-pager | joulectl replay --policy /etc/jouled/policies/fixed.toml --json | grep -q "\"policy\":{\"decisions\":[1-9]"'
inside journalctl -u jouled MESSAGE_ID=5c1f0b6a7a3e4d0f9a5be2d8a1c40e0e -o json --all --no-pager | python3 -c '
import json, sys
sizes = [len(json.loads(line)["JOULED_INPUTS"]) for line in sys.stdin]
assert sizes and max(sizes) < 65536, sizes
print("ok   ", len(sizes), "records of", min(sizes), "to", max(sizes), "bytes")' || bad "size of decisions' records"
