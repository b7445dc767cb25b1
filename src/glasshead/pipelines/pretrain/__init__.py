"""Train nano-clip contrastively on scenes, and on a folder of photographs if one is given."""
