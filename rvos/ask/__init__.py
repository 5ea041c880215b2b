"""A run's masklets -> questions for a person or for models, and their answers -> decisions."""
