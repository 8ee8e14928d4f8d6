"""Plugs a charger into a mock of /sys and looks whether a running jouled hears of it.

usage: umockdev-wrapper python3 uevents.py JOULED CONFIG JOURNAL
The daemon runs below umockdev's preload, which gives it the mock of /sys and udev's netlink messages.
Exit status 0 if the journal tells of both plug and unplug, each within 5 s, although power is polled once an hour.
"""

import subprocess
import sys
import time

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import UMockdev  # noqa: E402


def wait_for(journal, text, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with open(journal, encoding="utf-8") as file:
            if text in file.read():
                return
        time.sleep(0.02)
    with open(journal, encoding="utf-8") as file:
        sys.exit(f"no '{text}' within {seconds} s in:\n{file.read()}")


def main():
    jouled, config, journal = sys.argv[1:]
    testbed = UMockdev.Testbed.new()
    charger = testbed.add_device("power_supply", "AC", None, ["type", "Mains", "online", "0"], [])
    testbed.add_device(
        "power_supply", "BAT0", None,
        ["type", "Battery", "status", "Discharging", "present", "1", "energy_full", "50000000", "energy_now", "30000000",
         "power_now", "4000000", "capacity", "60"], [])
    with open(journal, "w", encoding="utf-8") as log:
        daemon = subprocess.Popen([jouled, "--config", config, "--stderr"], stderr=log)
    try:
        wait_for(journal, "serves on", 10)
        for online, words in (("1", "External power is on"), ("0", "External power is off")):
            time.sleep(1.1)  # one look a second is what a flapping plug gets
            testbed.set_attribute(charger, "online", online)
            testbed.uevent(charger, "change")
            wait_for(journal, words, 5)
    finally:
        daemon.terminate()
        daemon.wait(10)


main()
