//! Waiting for a child and signalling it.
