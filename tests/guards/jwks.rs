//! The keys of an identity provider that comes, goes and changes its mind.
