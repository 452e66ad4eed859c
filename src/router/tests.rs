//! Rules of the contract.
