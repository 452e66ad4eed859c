//! Instances that fail while others do not are left out.
