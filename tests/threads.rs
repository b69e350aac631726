//! Many threads spawn while others open and close descriptors.
