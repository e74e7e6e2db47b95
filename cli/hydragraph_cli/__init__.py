"""The command `hydragraph`: every command parses, calls one function of the library and prints what it returns."""
