"""What every part stands on: ids, errors, settings, logging, clock, limits; imports nobody."""
