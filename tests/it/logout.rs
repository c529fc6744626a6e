//! Whoever signs out at the provider is signed out here, at every replica (contract C17, lesson L31).
