"""All tests. A package, so that no installed package of this name hides `tests._support`."""
