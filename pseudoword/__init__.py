"""The nouns that the stages share: the settings, the word, the base model, the pictures, the files."""
