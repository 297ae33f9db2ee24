"""Write what follows from the resource's models: the CRD, its reference page, the chart's schema."""
