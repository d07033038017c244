"""What a part of a node stands on: context, configuration, threads, store, time, admission, metrics."""
