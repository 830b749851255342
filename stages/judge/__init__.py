"""judge: files of pictures measured, with no base model in memory."""
