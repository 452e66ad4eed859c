//! Panic, slow start, zones.
