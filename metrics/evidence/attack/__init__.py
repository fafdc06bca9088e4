"""The smallest change of an image that moves it across the border of its label's region."""
