"""The pipeline: settings -> graph, and its command line."""
