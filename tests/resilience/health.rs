//! Instances are asked whether they are well.
