//! TLSRoute, TCPRoute and UDPRoute: one rule with backends and nothing else.
//!
//! In: rules as written. Out: [`Rule`]s without matches. Not here: SNI, which chooses the route.

use std::sync::Arc;

use crate::{
    api::{L4RouteRule, Reason},
    backend::Turns,
};

use super::{
    filters::Place,
    rule::{BackendRef, Lowering},
    status::Fault,
    topology::{Rule, Timeouts},
};

/// Lowers all rules. The number is that of the rules as written.
// SPEC: exactly one rule. More cannot be told apart, so the first serves and the others are dropped.
pub(super) fn rules(
    written: &[L4RouteRule],
    lowering: &mut Lowering<'_>,
) -> (Vec<Arc<Rule>>, usize) {
    let mut kept = Vec::with_capacity(1);
    for (index, rule) in written.iter().enumerate() {
        let references = rule.backend_refs.iter().map(|backend| BackendRef {
            reference: &backend.reference,
            weight: backend.weight(),
            filters: Vec::new(),
        });
        let place = Place { field: "", one_prefix: false, has_backends: true, grpc: false };
        let backends = lowering.weighted(references, index, place);
        let lowered = match index {
            0 => Ok(Rule {
                name: rule.name.as_deref().map(Into::into),
                index: 0,
                matches: Vec::new(),
                filters: Vec::new(),
                backends,
                timeouts: Timeouts::default(),
                retry: None,
                session_persistence: None,
                turns: Turns::default(),
            }),
            _ => {
                let message = "the route has more than one rule, only the first is served";
                Err(Fault::new(Reason::UnsupportedValue, message))
            }
        };
        kept.extend(lowering.keep(index, lowered));
    }
    (kept, written.len())
}
