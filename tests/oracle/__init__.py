"""FixMatch in plain numpy, from the reference's description alone: it shares no code with fmsel."""
