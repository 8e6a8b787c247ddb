"""Pictures of samples, drawn with matplotlib's figures alone: no screen, no global state."""
