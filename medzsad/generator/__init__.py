"""Images, lesions and scanners made from random numbers, for training without a single patient."""
