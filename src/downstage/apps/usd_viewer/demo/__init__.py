"""The demo stage: a small theatre with a kinetic sculpture, and the script that makes it."""
