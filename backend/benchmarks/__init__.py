"""What a person runs to see how fast this is."""
