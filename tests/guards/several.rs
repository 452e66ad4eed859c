//! Several guards on one route.
