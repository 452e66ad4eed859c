//! Which instance gets which request.
