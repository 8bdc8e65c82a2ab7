"""The messages between parts, topics and MACs, the frame codec: shared by all, with no client library."""
