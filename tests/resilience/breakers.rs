//! What fails too much is cut off.
