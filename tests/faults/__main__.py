"""`make faults`."""

from tests.faults.run import main

main()
