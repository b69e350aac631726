//! What a plan prints, and how much room it takes.
