"""The fuzzer: rubbish into the real functions, and what comes out against plain readings of the same bytes.

`make fuzz CASES=1000000 SEED=n`; a short form runs in `make test`.
"""
