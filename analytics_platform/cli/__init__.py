"""The `ap` command: what people type. It asks the rooms and prints; it decides nothing."""
