//! `tls.options` of ours, and what holds without them.

use std::{io, net::SocketAddr, sync::Arc};

use gateway_core::{api::Kind, resolve::topology::Transport};
use rustls::{CipherSuite, ClientConfig, ProtocolVersion, SupportedProtocolVersion, version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    peers::{Authority, connect, provider},
    world::{World, gateway, run, soon},
};

/// An HTTPS and a terminating TLS listener with these options.
async fn world(authority: &Authority, options: &str) -> World {
    let tls = format!("tls: {{certificateRefs: [{{name: cert}}], options: {{{options}}}}}");
    let manifests = gateway(&[
        &format!("name: web, port: 443, protocol: HTTPS, {tls}"),
        "name: other, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}",
    ]);
    World::start(&(manifests + &authority.sign(&["a.example"]).secret("cert"))).await
}

fn only(authority: &Authority, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version");
    Arc::new(builder.with_root_certificates(authority.roots()).with_no_client_auth())
}

/// What is agreed on; none if the handshake fails.
async fn agreed(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Option<(ProtocolVersion, CipherSuite)> {
    let stream = connect(address, "a.example", config).await.ok()?;
    let session = stream.get_ref().1;
    Some((session.protocol_version()?, session.negotiated_cipher_suite()?.suite()))
}

#[test]
fn the_least_version_is_1_2_unless_told_otherwise() {
    run(async {
        let authority = Authority::new();
        let (old, new) = (only(&authority, &version::TLS12), only(&authority, &version::TLS13));
        for (options, old_is_in) in [
            ("", true),
            ("gateway-rs.github.io/min-tls-version: '1.2'", true),
            ("gateway-rs.github.io/min-tls-version: '1.3'", false),
        ] {
            let world = world(&authority, options).await;
            for (config, is_in) in [(&old, old_is_in), (&new, true)] {
                assert_eq!(agreed(world.tcp(443), config).await.is_some(), is_in, "{options}");
                assert!(
                    agreed(world.tcp(8443), config).await.is_some(),
                    "the others are as before"
                );
            }
        }
    });
}

#[test]
fn tls_1_1_is_refused() {
    run(async {
        let world = world(&Authority::new(), "").await;
        // A ClientHello of TLS 1.1: random, no session, one suite, no compression.
        let body = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0]].concat();
        let length = u8::try_from(body.len()).expect("a short hello");
        let hello = [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
        let mut socket = TcpStream::connect(world.tcp(443)).await.expect("a listener");
        socket.write_all(&hello).await.expect("sent");
        let mut heard = Vec::new();
        if let Err(error) = soon(socket.read_to_end(&mut heard)).await {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        const ALERT: u8 = 0x15;
        assert!(heard.first().is_none_or(|kind| *kind == ALERT), "{heard:?}");
    });
}

#[test]
fn suites_are_those_that_are_named() {
    run(async {
        let authority = Authority::new();
        let (old, new) = (only(&authority, &version::TLS12), only(&authority, &version::TLS13));
        let one = "gateway-rs.github.io/tls-cipher-suites: \
                   'TLS_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'";
        let served = world(&authority, one).await;
        let suite = |agreed: Option<(ProtocolVersion, CipherSuite)>| agreed.map(|(_, suite)| suite);
        assert_eq!(
            suite(agreed(served.tcp(443), &new).await),
            Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)
        );
        assert_eq!(
            suite(agreed(served.tcp(443), &old).await),
            Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
        );
        let served =
            world(&authority, "gateway-rs.github.io/tls-cipher-suites: TLS_AES_128_GCM_SHA256")
                .await;
        assert_eq!(
            suite(agreed(served.tcp(443), &new).await),
            Some(CipherSuite::TLS13_AES_128_GCM_SHA256)
        );
        assert_eq!(suite(agreed(served.tcp(443), &old).await), None);
    });
}

#[test]
fn what_cannot_be_obeyed_is_not_served_and_what_is_not_ours_is() {
    run(async {
        let authority = Authority::new();
        let config = only(&authority, &version::TLS13);
        for options in [
            "gateway-rs.github.io/min-tls-version: '1.1'",
            "gateway-rs.github.io/tls-cipher-suites: TLS_RSA_WITH_RC4_128_MD5",
        ] {
            let world = world(&authority, options).await;
            world.expect(Kind::Gateway, "gw", "/listeners/0", &["Accepted=False UnsupportedValue"]);
            assert_eq!(world.find_address(Transport::Tcp, 443), None);
            assert!(agreed(world.tcp(8443), &config).await.is_some());
        }
        let world = world(&authority, "example.com/option: 'on'").await;
        world.expect(Kind::Gateway, "gw", "/listeners/0", &["Programmed=True Programmed"]);
        assert!(agreed(world.tcp(443), &config).await.is_some());
    });
}
