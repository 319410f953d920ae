"""`labelloop simulate`: what the loop saves a person, measured on a COCO dataset's images."""
