"""`python -m amaters_kubectl`."""

from amaters_kubectl.entry import main

main()
