//! Signals: no handler runs in a child, and masks and actions are what was asked for.
