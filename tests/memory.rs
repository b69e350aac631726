//! The parent's memory after a spawn: what it was before.
