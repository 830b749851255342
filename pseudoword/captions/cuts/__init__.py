"""What a draft loses, and the word lists that say so; a package of its own, so that no other stage reads the lists."""
