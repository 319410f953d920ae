"""The dashboard: the loop to look at and to steer, in a browser."""
