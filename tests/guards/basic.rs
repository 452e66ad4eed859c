//! Basic auth.
