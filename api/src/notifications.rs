//! How a change reaches the sockets: the tail reads the topic, the hub knows who listens, a socket sends.

pub(crate) mod hub;
pub(crate) mod tail;
pub(crate) mod websocket;
