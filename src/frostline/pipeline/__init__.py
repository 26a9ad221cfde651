"""From a recipe and images to a finished run: the only place where the parts are put together."""
