"""The frozen base model: where it lies, what it is, and the parts of it that the stages use.

    model = ModelIdentity("models/toyworld")
    model.resolution                                 # 64, from its configs alone
    base = load_base(model, "cpu", torch.float32)    # a Base, whatever the family
    conditioning = base.encode(ids, vectors)
    base.loss(clean, noise, t, conditioning)
    base.draw(conditioning, None, noise, inference_steps=20, guidance=3.0)

`identity` says which model is meant and what that is; `hub` fetches hub ids; `location` reads config files, and none
of the three imports torch; `placement` picks device and precision;
`interface` is what the stages know of a model. `families` tells them apart by the model's own configs and refuses
others with what was found; `stable_diffusion`, `inpainting` and `sdxl` are one module each. `single_file` looks into
checkpoints of one file.
"""
