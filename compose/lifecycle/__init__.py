"""What `make` does on the host: checks, settings, images, start, wait. Standard library; Python 3.9."""
