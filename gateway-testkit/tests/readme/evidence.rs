//! What shows that TLS and all below HTTP is served: for each feature its goldens, which show the
//! status, and its tests with real clients and backends on loopback, which show the traffic.

/// Goldens and tests of one feature.
pub(crate) struct Evidence {
    /// As the conformance suite names it.
    pub(crate) feature: &'static str,
    /// A folder under `testdata`, and files in it without their endings.
    pub(crate) goldens: (&'static str, &'static [&'static str]),
    /// Files under `gateway-bin/tests`, and tests in them.
    pub(crate) tests: &'static [(&'static str, &'static [&'static str])],
}

/// Features that must have evidence, by the begin of their names.
pub(crate) const PROVEN: [&str; 8] = [
    "BackendTLSPolicy",
    "TLSRoute",
    "TCPRoute",
    "UDPRoute",
    "ListenerSet",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
];

/// In the order of the support table.
pub(crate) const EVIDENCE: &[Evidence] = &[
    Evidence {
        feature: "BackendTLSPolicy",
        goldens: (
            "policy",
            &[
                "backend-tls-good",
                "backend-tls-one-ancestor-per-gateway",
                "backend-tls-older-policy-wins",
                "backend-tls-section-beats-whole-service",
                "backend-tls-two-policies-for-one-section",
                "backend-tls-missing-ca",
                "backend-tls-ca-without-key",
                "backend-tls-empty-ca",
                "backend-tls-malformed-ca",
                "backend-tls-ca-of-unknown-kind",
                "backend-tls-system-roots",
            ],
        ),
        tests: &[(
            "served/backend_tls.rs",
            &[
                "the_policy_decides_whom_the_gateway_talks_to",
                "the_backend_is_asked_by_the_name_of_the_policy_and_hears_the_host_of_the_client",
                "an_authority_that_comes_and_goes_is_followed_and_never_by_plain_text",
                "a_policy_for_the_port_beats_one_for_the_service_and_among_equals_the_oldest_wins",
                "calls_mirrors_authorization_and_terminated_streams_are_encrypted_alike",
            ],
        )],
    },
    Evidence {
        feature: "BackendTLSPolicySANValidation",
        goldens: ("policy", &["backend-tls-subject-alt-names"]),
        tests: &[("served/backend_tls.rs", &["the_policy_decides_whom_the_gateway_talks_to"])],
    },
    Evidence {
        feature: "GatewayBackendClientCertificate",
        goldens: (
            "tls",
            &[
                "backend-client-certificate-good",
                "backend-client-certificate-missing",
                "backend-client-certificate-malformed",
                "backend-client-certificate-of-unsupported-kind",
                "backend-client-certificate-of-unsupported-group",
                "backend-client-certificate-with-grant",
                "backend-client-certificate-without-grant",
            ],
        ),
        tests: &[(
            "served/backend_tls.rs",
            &["the_gateway_shows_its_certificate_to_backends_that_ask"],
        )],
    },
    Evidence {
        feature: "GatewayFrontendClientCertificateValidation",
        goldens: (
            "tls",
            &[
                "frontend-validation-good",
                "frontend-validation-per-port-overrides-default",
                "frontend-validation-per-port-switches-off",
                "frontend-validation-per-port-missing",
                "frontend-validation-default-missing",
                "frontend-validation-malformed",
                "frontend-validation-of-unsupported-kind",
                "frontend-validation-without-ca-crt",
                "frontend-validation-one-of-two-missing",
                "frontend-validation-with-grant",
                "frontend-validation-without-grant",
            ],
        ),
        tests: &[(
            "served/client_certificates.rs",
            &[
                "each_port_has_its_own_authority_and_the_default_holds_for_the_rest",
                "a_port_without_validation_asks_for_nothing",
                "without_any_authority_nobody_is_let_in_and_http_goes_on",
                "a_session_of_another_authority_authenticates_nobody",
            ],
        )],
    },
    Evidence {
        feature: "GatewayFrontendClientCertificateValidationInsecureFallback",
        goldens: ("tls", &["frontend-validation-insecure-fallback"]),
        tests: &[(
            "served/client_certificates.rs",
            &["insecure_fallback_lets_in_whoever_comes_and_says_so"],
        )],
    },
    Evidence {
        feature: "GatewayHTTPSListenerDetectMisdirectedRequests",
        goldens: (
            "tls",
            &["sni-against-host", "host-without-listener-is-404", "overlapping-hostnames"],
        ),
        tests: &[(
            "served/https.rs",
            &[
                "misdirected_requests_of_http1_are_told_so",
                "misdirected_requests_of_http2_are_told_so_each_by_itself",
            ],
        )],
    },
    Evidence {
        feature: "ListenerSet",
        goldens: (
            "listenerset",
            &[
                "not-allowed-by-default",
                "not-allowed-by-none",
                "allowed-from-same",
                "allowed-from-all",
                "allowed-by-selector",
                "same-namespace-is-that-of-the-set",
                "routes-through-gateway-and-set",
                "section-of-a-set-is-not-a-section-of-the-gateway",
                "dual-parent-refs-are-independent",
                "invalid-route-kinds",
                "hostname-conflict-with-the-gateway",
                "protocol-conflict-hits-the-loser-only",
                "older-set-wins",
                "grant-for-listener-sets",
                "grant-for-gateways-is-not-inherited",
            ],
        ),
        tests: &[(
            "served/listener_sets.rs",
            &[
                "listeners_of_gateway_and_set_share_ports_and_keep_their_routes_apart",
                "sets_that_are_not_allowed_serve_nothing",
                "in_a_conflict_the_gateway_wins_and_then_the_older_set",
                "a_set_needs_a_grant_of_its_own_for_a_certificate_elsewhere",
            ],
        )],
    },
    Evidence {
        feature: "TCPRoute",
        goldens: (
            "l4",
            &[
                "tcp-route-attaches-to-all-tcp-listeners",
                "tcp-route-by-section-name-and-port",
                "tcp-route-on-another-protocol",
                "tcp-routes-with-invalid-backends",
                "several-tcp-routes-are-all-accepted",
                "grants-name-the-kind-of-the-route",
            ],
        ),
        tests: &[
            (
                "served/tcp.rs",
                &[
                    "bytes_go_both_ways_and_a_half_closed_connection_goes_on",
                    "connections_are_shared_by_weight_over_all_workers",
                    "what_has_no_usable_backend_is_refused",
                    "a_grant_lets_in_and_its_end_shuts_out",
                    "the_oldest_route_is_served_and_the_next_takes_over",
                    "routes_attach_to_all_listeners_or_by_section_and_port",
                ],
            ),
            ("stream/relay.rs", &["little_waits_for_a_slow_reader"]),
            ("stream/tcp.rs", &["idle_connections_end_with_a_reset"]),
        ],
    },
    Evidence {
        feature: "TLSRoute",
        goldens: (
            "l4",
            &[
                "tls-route-on-passthrough",
                "tls-route-hostnames",
                "tls-route-on-http-and-https-listeners",
                "tls-routes-with-invalid-backends",
                "tls-routes-with-one-hostname",
                "tls-listener-with-invalid-kinds",
                "grants-name-the-kind-of-the-route",
            ],
        ),
        tests: &[
            (
                "served/tls_routes.rs",
                &[
                    "passthrough_leads_by_server_name",
                    "a_hello_in_pieces_is_read_to_its_end",
                    "hostnames_of_route_and_listener_intersect",
                    "what_has_no_usable_backend_ends_without_an_alert",
                    "a_grant_lets_in_and_its_end_shuts_out",
                ],
            ),
            ("stream/tls.rs", &["a_hello_that_does_not_come_is_not_waited_for"]),
        ],
    },
    Evidence {
        feature: "TLSRouteModeMixed",
        goldens: ("l4", &["tls-passthrough-and-terminate-on-one-port"]),
        tests: &[("served/tls_routes.rs", &["passthrough_terminate_and_https_share_a_port"])],
    },
    Evidence {
        feature: "TLSRouteModeTerminate",
        goldens: ("l4", &["tls-route-on-terminate", "tls-listener-with-invalid-kinds"]),
        tests: &[("served/tls_routes.rs", &["terminate_passes_on_what_was_inside"])],
    },
    Evidence {
        feature: "UDPRoute",
        goldens: (
            "l4",
            &[
                "udp-route-attaches-to-all-udp-listeners",
                "udp-route-by-section-name-and-port",
                "udp-route-on-another-protocol",
                "udp-routes-with-invalid-backends",
                "several-udp-routes-are-all-accepted",
            ],
        ),
        tests: &[
            (
                "served/udp.rs",
                &[
                    "datagrams_go_both_ways",
                    "sessions_are_shared_by_weight_over_all_workers",
                    "answers_come_from_the_address_that_was_asked",
                    "what_has_no_usable_backend_is_dropped",
                    "a_grant_lets_in_and_its_end_shuts_out",
                    "routes_attach_to_all_listeners_or_by_section_and_port_and_the_oldest_serves",
                    "listeners_may_refuse_routes_of_other_namespaces",
                ],
            ),
            (
                "stream/udp.rs",
                &[
                    "idle_sessions_end_and_busy_ones_do_not",
                    "a_flood_that_nobody_answers_makes_room_for_itself",
                ],
            ),
        ],
    },
];
