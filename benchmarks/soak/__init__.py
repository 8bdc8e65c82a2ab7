"""`make soak`: a steady load for long, what every process takes meanwhile, and whether any of it grows for ever."""
