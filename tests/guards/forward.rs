//! Another service decides.
