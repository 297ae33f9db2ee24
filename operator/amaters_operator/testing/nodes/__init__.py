"""Machines and kubelets under the pods of the world."""
