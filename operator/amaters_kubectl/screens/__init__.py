"""What a person sees. Pure: values in, lines of text out."""
