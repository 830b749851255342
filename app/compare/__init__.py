"""pseudoword compare: what differs between experiments, what it did, how sure that is, and how to bring one back."""
