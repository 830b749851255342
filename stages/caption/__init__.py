"""caption: pictures -> a captioner's drafts."""
