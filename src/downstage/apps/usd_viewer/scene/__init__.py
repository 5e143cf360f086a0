"""From a USD stage to plain arrays: this folder knows USD and nothing of drawing."""
