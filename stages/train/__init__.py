"""train: latents and captions -> the word, in R runs that share one UNet batch."""
