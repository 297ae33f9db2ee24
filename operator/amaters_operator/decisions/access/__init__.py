"""Which AmatersAccess objects count, when their keys are renewed, and what each reports. Pure."""
