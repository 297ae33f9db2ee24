"""What a caller may do, decided on resolved operations; and the record of what was decided."""
