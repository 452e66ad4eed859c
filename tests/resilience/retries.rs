//! Requests are sent again where that does no harm.
