//! How long a request's body may be.
