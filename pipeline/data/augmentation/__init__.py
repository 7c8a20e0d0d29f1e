"""How training changes an image, from random numbers that the seed, the epoch and the image decide."""
