//! Every way to fail, under load.
