"""The frozen CLIP tower, on open_clip: image features, text features, weights."""
