"""What stages have written, in formats that others read."""
