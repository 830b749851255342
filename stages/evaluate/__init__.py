"""evaluate: every checkpoint of every run -> scores, pictures, one choice with its reason."""
