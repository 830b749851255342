"""File formats that other tools read and write."""
