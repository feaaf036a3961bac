//! Everything that is known at one instant: resources as the user wrote them, and observed facts.
//!
//! In: [`Resource`]s in any order, and what the proxy found out. Out: look-ups by key, in a fixed
//! order, so that nothing depends on the order of arrival. Not here: any judgement.
