//! The specification as plain code: slow, linear, and short enough to be read against the text.
//!
//! In: resources as the user wrote them, and requests. Out: what becomes of each request, and of
//! each route at its parents. Shares no code with the engine beyond the `api` structs, so that an
//! error is made twice only if it is thought twice.
//!
//! Not here: conditions of Gateways and listeners, policies, certificates beyond whether there is
//! one, and values that the schema refuses.

mod attach;
mod backend;
mod cors;
mod decide;
mod filters;
mod hostname;
mod listener;
mod matching;
mod route;
mod status;
mod world;

use gateway_core::api::Resource;

use self::{attach::Parent, listener::Listener, route::Route, world::World};
use crate::corpus::{Conditions, Decision, Engine, ObjectStatus, Outcome, Request};

pub use decide::Verdict;
pub use hostname::of_authority as host_of_authority;

/// The name of the controller that the model plays.
pub const CONTROLLER: &str = "gateway.example/controller";

/// The model of one set of resources.
#[derive(Debug)]
pub struct Reference {
    world: World,
    listeners: Vec<Listener>,
    routes: Vec<(Route, Vec<Parent>)>,
}

impl Reference {
    /// The model of `resources`, given in any order. Each object occurs once.
    #[must_use]
    pub fn new(resources: &[Resource]) -> Self {
        let world = World::new(resources);
        let listeners = listener::listeners(&world);
        let routes = route::routes(&world).into_iter().map(|route| {
            let parents = attach::parents(&world, &listeners, &route);
            (route, parents)
        });
        let routes = routes.collect();
        Self { world, listeners, routes }
    }
}

impl Engine for Reference {
    fn status(&self) -> Vec<ObjectStatus> {
        status::statuses(self)
    }

    fn decide(&mut self, request: &Request, turn: u64) -> Decision {
        self.verdict(request).at(turn)
    }

    /// Leaves what the model knows: parents of routes, and how many routes a listener has.
    fn narrow(&self, mut expected: Outcome) -> Outcome {
        expected.status.retain(|_, object| object.ancestors.is_empty());
        expected.status.retain(|name, _| !name.starts_with("GatewayClass"));
        for object in expected.status.values_mut() {
            object.conditions = Conditions::new();
            object.attached_listener_sets = None;
            object.addresses = None;
            for (_, listener) in &mut object.listeners {
                listener.conditions = Conditions::new();
                listener.supported_kinds = None;
            }
        }
        expected
    }
}
