"""What is asked about studies that are there, and what they leave: status, delete, clean."""
