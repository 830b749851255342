"""The frozen base model: where it lies, what it is, and the parts of it that the stages use.

    folder = locate("models/toyworld", revision=None)
    native_resolution("models/toyworld", None)                    # 64, from its configs alone
    pipeline = load_pipeline("models/toyworld", None, "cpu", torch.float32)
    base = StableDiffusion(pipeline)                              # what training and scoring need of it

`location` reads config files and imports no torch; `placement` picks device and precision; each family of models is a
module of its own. Families are told apart by the model's own configs: Stable Diffusion 1.x and 2.x (epsilon or
v-prediction) share one module, a model of another family is refused with a UserError that says what was found.
"""
