"""What surrounds a slice: air, its neighbors and the other planes."""
