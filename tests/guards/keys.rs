//! Keys of callers.
