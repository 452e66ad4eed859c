//! Instances taken out by hand.
