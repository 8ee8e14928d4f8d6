"""Calls a Varlink service as another user.

usage: as_user.py UID SOCKET [CONNECTIONS]
Each line of standard input is a call; its reply is a line of standard output. A call with "upgrade" keeps its connection open
until standard input ends. With CONNECTIONS, so many are held open first; the last words of those that were closed are printed.
"""

import json
import os
import select
import socket
import sys


def connect(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect(path)
    return connection


def reply(connection):
    received = b""
    while b"\0" not in received:
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
    return received.split(b"\0")[0].decode() or "closed"


def main():
    uid, path = int(sys.argv[1]), sys.argv[2]
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    held = [connect(path) for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 0)]
    if held:
        # Nothing comes to those that were let in: silence ends the wait.
        refused = []
        while (news := select.select([connection for connection in held if connection not in refused], [], [], 0.5)[0]):
            refused += news
        print(json.dumps([reply(connection) for connection in refused]), flush=True)
        for connection in refused:
            held.remove(connection)
            connection.close()
    for line in sys.stdin:
        connection = connect(path)
        connection.sendall(line.strip().encode() + b"\0")
        print(reply(connection), flush=True)
        if json.loads(line).get("upgrade"):
            held.append(connection)
        else:
            connection.close()


main()
