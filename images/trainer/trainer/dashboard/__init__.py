"""The dashboard: shows and controls the loop in a browser."""
