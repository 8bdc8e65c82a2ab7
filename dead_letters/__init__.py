"""Dead letters after they were written: looked at, replayed by hand, and replayed by themselves where a device was not
known."""
