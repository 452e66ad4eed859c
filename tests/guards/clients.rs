//! Which addresses may come in.
