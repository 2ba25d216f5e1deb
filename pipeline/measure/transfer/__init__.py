"""What does the network go by? Windows of images pasted onto images of other classes."""
