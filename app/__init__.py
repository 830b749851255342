"""All that a person types or opens: the command line and the review page. It stands above the stages."""
