"""The simulated cluster: virtual time, network, disks and members, faults and the checks on them."""
