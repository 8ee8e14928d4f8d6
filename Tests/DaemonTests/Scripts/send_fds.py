"""Makes a call with file descriptors attached to its first byte and prints the reply.

usage: send_fds.py SOCKET
"""
import os
import socket
import sys

connection = socket.socket(socket.AF_UNIX)
connection.settimeout(20)
connection.connect(sys.argv[1])
passed = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
socket.send_fds(connection, [b'{"method":"org.varlink.service.GetInfo"}\0'], passed)
received = b""
while b"\0" not in received:
    piece = connection.recv(65536)
    assert piece, "the connection was closed"
    received += piece
print(received.rstrip(b"\0").decode(), flush=True)
sys.stdin.read()  # the connection stays open while the test counts descriptors
