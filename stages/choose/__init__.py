"""choose: arithmetic on what was measured."""
