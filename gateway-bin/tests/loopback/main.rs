//! The gateway in process, between clients and backends on loopback.

mod abuse;
mod admin;
mod common;
mod drain;
mod framing;
mod hostile_backends;
mod http2;
mod interim;
mod limits;
mod proxy;
mod reload;
mod tls;
mod upgrades;
mod upstream;
