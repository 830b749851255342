"""How fast a word is trained. `python -m bench.train --help`; figures and findings are in docs/decisions/."""
