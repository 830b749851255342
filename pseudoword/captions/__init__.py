"""From drafts and a person's own texts to captions: the merge, its lint, and captions.yaml, which holds the edits."""
