"""`make bench`: the pipeline beside a plain consumer, Flink SQL and the ceilings, on a native stack of its own."""
