"""Between the transport and the services: who makes each call, and whether it may."""
