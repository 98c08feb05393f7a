"""The op set: about 150 ops, one meaning each, declared in files named after their family."""
