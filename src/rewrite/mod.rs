//! May change a request and its answer, never refuses.
