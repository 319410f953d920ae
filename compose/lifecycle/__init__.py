"""What `make` does on the host: checks, settings, images, start, wait. Standard library only, Python 3.9 or newer."""
