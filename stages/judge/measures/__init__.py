"""The measures of drawn pictures, one file each. A new one is a file, a name here, and one in results/tables.py."""

from stages.judge.measures.broken import BROKEN
from stages.judge.measures.copying import COPYING
from stages.judge.measures.identity import IDENTITY
from stages.judge.measures.likeness import LIKENESS
from stages.judge.measures.obedience import OBEDIENCE
from stages.judge.measures.overbaked import OVERBAKED
from stages.judge.measures.variety import VARIETY

MEASURES = (LIKENESS, IDENTITY, OBEDIENCE, VARIETY, COPYING, OVERBAKED, BROKEN)
