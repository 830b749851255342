"""curate: drafts and a person's own texts -> the captions that training reads."""
