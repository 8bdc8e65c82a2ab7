"""The fault suite: the real stack under steady load while its parts are killed, stopped, cut off and misled; at the end
every frame that a controller had acknowledged must have its rows, each once and with the right values.

`make faults COUNT=200 SEED=1` runs a random sequence, `FAULT=kill-bridge` one alone. docs/reliability.md says more.
"""
