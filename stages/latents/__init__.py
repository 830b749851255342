"""latents: pictures -> what the VAE makes of them."""
