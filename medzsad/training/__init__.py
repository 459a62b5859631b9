"""Training on generated and industrial images; never on patients."""
