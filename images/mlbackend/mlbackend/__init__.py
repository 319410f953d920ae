"""labelloop's ML backend: Label Studio's predictions from the champion of each project."""
