"""A scan as square 2D slices for the model, and back onto the scan's own grid."""
