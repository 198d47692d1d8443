"""What a person sees: the Textual console and the command line."""
