"""Waits for memory, so that the kernel tells of pressure: pressure.py FILE SECONDS, in a control group with less memory than FILE has."""
import mmap
import os
import sys
import time

path, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
with open(path, "ab") as file:
    while file.tell() < 96 << 20:
        file.write(os.urandom(1 << 20))
with open(path, "rb") as file:
    content, total = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), 0
    while time.monotonic() < end:
        for place in range(0, len(content), 4096):
            total += content[place]
