"""Real server processes in network namespaces, with faults in their links, disks and processes."""
