//! Several gateways count together.
