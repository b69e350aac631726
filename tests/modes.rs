//! Which mode is chosen, and what it does.
