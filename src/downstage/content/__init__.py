"""Files, versions, locks, rooms and live layers: one tree, several dialects, no USD."""
