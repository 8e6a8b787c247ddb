"""What a dataset needs to be given away: a card, Croissant, checksums.

Nothing of the dataset itself is written here, and nothing is uploaded.
"""
