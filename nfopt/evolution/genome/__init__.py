"""The genome: its variables and blocks of masks, repair, and spaces small enough to enumerate."""
