//! Sessions, process groups and terminals.
