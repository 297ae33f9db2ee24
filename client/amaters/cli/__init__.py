"""`amaters-cli`: what a person or a script asks of a cluster from a terminal."""
