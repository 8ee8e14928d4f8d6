"""Runs the reference certification client against a server and looks at what it leaves unlooked at.

usage: python certify.py SOCKET      (with the Python that has the package `varlink`)
The reference client says "Certification passed" whatever the server answered, so its output is read: all methods were called in order,
ten replies came to the call with `more`, and the server says all_ok.
"""
import subprocess
import sys

ORDER = [f"Test{n:02}" for n in range(1, 10)] + ["Test10"] * 10 + ["Test11", "End"]

result = subprocess.run(
    [sys.executable, "-m", "varlink.tests.test_certification", "--client", f"--varlink=unix:{sys.argv[1]}"],
    capture_output=True, text=True, timeout=60)
print(result.stdout + result.stderr, end="")
lines = [line.split(":")[0] for line in result.stdout.splitlines() if line.startswith(("Test", "End"))]
assert result.returncode == 0, f"the client ended with {result.returncode}"
assert lines == ORDER, f"calls in the order {lines}"
assert "End: {'all_ok': True}" in result.stdout.splitlines(), "the server does not say all_ok"
print("all_ok")
