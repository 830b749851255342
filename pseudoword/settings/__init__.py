"""params.yaml as frozen pydantic models, one file for each section.

loading    all of params.yaml, checked; for what a person starts: `check`, the command line, the review page
stage      what one stage reads of it, as `check` resolved it
sweep      the runs of a sweep
naming     their names
messages   mistakes in plain words

Nothing is imported here, so that a stage runs the code of those sections alone that it reads.
"""
