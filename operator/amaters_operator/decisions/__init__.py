"""Judgement: from what was seen to the single next move and the status. Pure, no I/O, no clock."""
