//! Tokens: good, odd and forged.
