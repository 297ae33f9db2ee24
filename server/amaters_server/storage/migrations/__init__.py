"""How the data of earlier versions becomes that of this one, step by step and resumably."""
