#!/usr/bin/env python3
"""healthy PORT [PATH]: exit status 0 if this container's service answers 200 there; else what it answers."""

import http.client
import sys

port, path = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "/health/ready"
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8)
connection.request("GET", path)
answer = connection.getresponse()
if answer.status != http.client.OK:
    sys.exit(f"{answer.status} {answer.read().decode()}")
