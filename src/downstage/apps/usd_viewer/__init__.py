"""Shows a USD stage: usd-core reads it, VTK draws it, SDL puts it on the display."""
