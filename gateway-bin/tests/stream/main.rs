//! Streams over loopback: real sockets, real TLS, and peers that do as they are told.

mod common;
mod proxy_header;
mod relay;
mod tcp;
mod tls;
mod udp;
