"""Runs Meridian's processes and asks them questions. Nothing here knows how Meridian works inside."""
