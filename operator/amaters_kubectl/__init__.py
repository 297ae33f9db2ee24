"""`kubectl amaters`: look at AmatersClusters and act on them, through kubectl alone."""
