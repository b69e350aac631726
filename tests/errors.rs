//! Every step can fail: the error says which, and nothing is left behind.
