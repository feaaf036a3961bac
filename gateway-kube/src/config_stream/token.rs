//! Tokens of service accounts, as the API server judges them.
//!
//! In: a token. Out: the service account and the pod that it was made for. Not here: what they get.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};

use super::{
    AUDIENCE,
    publisher::Account,
    service::{Authenticate, Identity, Refusal},
};
use crate::connect::Connection;

/// What the names of service accounts begin with.
const PREFIX: &str = "system:serviceaccount:";

/// Where the API server says for which pod a token was made.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// Asks the API server about tokens.
#[derive(Clone)]
pub struct TokenReviews {
    client: Client,
}

impl TokenReviews {
    /// Asks over this connection.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self { client: connection.client.clone() }
    }
}

impl std::fmt::Debug for TokenReviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenReviews").finish_non_exhaustive()
    }
}

impl Authenticate for TokenReviews {
    async fn authenticate(&self, token: &str) -> Result<Identity, Refusal> {
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![AUDIENCE.to_owned()]),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), &review).await;
        match answer {
            Ok(review) => judge(review.status.unwrap_or_default()),
            Err(error) => {
                Err(Refusal::Unavailable(format!("the token cannot be checked: {error}")))
            }
        }
    }
}

fn judge(status: TokenReviewStatus) -> Result<Identity, Refusal> {
    let refused = |why: &str| Refusal::Invalid(why.to_owned());
    if status.authenticated != Some(true) {
        return Err(refused("the token is not valid"));
    }
    // An API server that does not know audiences would take any token.
    if !status.audiences.iter().flatten().any(|audience| audience == AUDIENCE) {
        return Err(refused("the token is for somebody else"));
    }
    let user = status.user.unwrap_or_default();
    let name = user.username.as_deref().and_then(|name| name.strip_prefix(PREFIX));
    let Some((namespace, name)) = name.and_then(|name| name.split_once(':')) else {
        return Err(refused("the token is not that of a service account"));
    };
    let pod = user.extra.as_ref().and_then(|extra| extra.get(POD_NAME)?.first());
    Ok(Identity {
        account: Account { namespace: namespace.into(), name: name.into() },
        pod: pod.map(String::as_str).unwrap_or_default().into(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{AUDIENCE, judge};

    #[track_caller]
    fn check(status: Value, expect: &str) {
        let status = serde_json::from_value(status).expect("a status");
        let seen = match judge(status) {
            Ok(identity) => format!("{} in {}", identity.account, identity.pod),
            Err(refusal) => format!("{refusal:?}"),
        };
        assert_eq!(seen, expect);
    }

    #[test]
    fn only_tokens_of_service_accounts_for_us_count() {
        let with = |authenticated: bool, audience: &str, user: &str| {
            json!({
                "authenticated": authenticated,
                "audiences": [audience],
                "user": {
                    "username": user,
                    "extra": {"authentication.kubernetes.io/pod-name": ["public-1"]},
                },
            })
        };
        let account = "system:serviceaccount:infra:public-gateway";
        check(with(true, AUDIENCE, account), "infra/public-gateway in public-1");
        check(with(false, AUDIENCE, account), "Invalid(\"the token is not valid\")");
        let other = "https://kubernetes.default.svc";
        check(with(true, other, account), "Invalid(\"the token is for somebody else\")");
        let nobody = "Invalid(\"the token is not that of a service account\")";
        check(with(true, AUDIENCE, "admin"), nobody);
        check(with(true, AUDIENCE, "system:serviceaccount:infra"), nobody);
        check(json!({}), "Invalid(\"the token is not valid\")");
        let unknown = json!({"authenticated": true, "user": {"username": account}});
        check(unknown, "Invalid(\"the token is for somebody else\")");
    }
}
