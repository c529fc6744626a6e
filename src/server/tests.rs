//! What the listeners promise, over real sockets.
