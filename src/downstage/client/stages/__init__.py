"""Stages at URLs: copied with all they refer to into a folder where USD finds them."""
