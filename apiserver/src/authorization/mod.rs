//! Who may do what: the node authorizer first, then role-based access control; `system:masters` may do everything.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`attributes`] | what a request is, as far as authorization cares |
//! | [`rules`] | roles and bindings, indexed by subject; pure |
//! | [`node`] | what a kubelet may see and do; pure |
//! | [`escalation`] | nobody gives away rights that he does not have; pure |
//! | [`policy`] | escalation for writes of roles and bindings |
//! | [`review`] | the questions that clients may ask about all this |
//! | [`follow`] | keeps the rules in step with the local store |
//!
//! Invariant: a decision sees every write that the local store had applied when the question was asked.

pub mod attributes;
pub mod escalation;
pub mod follow;
pub mod node;
pub mod policy;
pub mod review;
pub mod rules;

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef};
use kubelab_api::Error;
use kubelab_store::Store;

use crate::corridor::User;

pub use attributes::Attributes;
use follow::Follower;
use rules::{Rules, Verdict};

/// Whose members may do everything.
pub const MASTERS: &str = "system:masters";

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub allowed: bool,
    /// Why, where there is something to say.
    pub reason: String,
}

/// Something that decides.
pub trait Decider: Send + Sync {
    /// Whether a request is allowed, and why.
    fn decide(&self, attributes: &Attributes<'_>) -> Decision;

    /// Every RBAC rule that a user has in a namespace, or in the cluster.
    fn rules_of(&self, user: &User, namespace: &str) -> Vec<PolicyRule>;

    /// The rules of a role that a binding in a namespace refers to.
    fn rules_of_role(&self, role: &RoleRef, namespace: &str) -> Option<Vec<PolicyRule>>;

    /// Refuses what is not allowed with 403.
    fn require(&self, attributes: &Attributes<'_>) -> Result<(), Error> {
        match self.decide(attributes) {
            Decision { allowed: true, .. } => Ok(()),
            Decision { reason, .. } => Err(attributes.forbidden(&reason)),
        }
    }
}

/// Decides by what the local store holds.
pub struct Authorizer {
    follower: Follower,
}

impl Authorizer {
    /// An authorizer over this member's store.
    pub fn new(store: Store) -> Self {
        Self { follower: Follower::new(store) }
    }

    /// Refuses what is not allowed with 403. Cheap: no lock is held, and nothing decoded, unless roles, bindings or the
    /// pods of a node have changed or the asker is a node.
    pub fn authorize(&self, attributes: &Attributes<'_>) -> Result<(), Error> {
        if is_master(attributes.user) || (node::name_of(attributes.user).is_none() && self.rules().allow(attributes)) {
            return Ok(());
        }
        self.require(attributes)
    }

    /// The roles and bindings as they are now.
    pub fn rules(&self) -> Arc<Rules> {
        self.follower.rules()
    }
}

impl Decider for Authorizer {
    fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        if is_master(attributes.user) {
            return Decision { allowed: true, reason: String::new() };
        }
        let rules = self.rules();
        let node = node::name_of(attributes.user).map(|node| node::decide(node, attributes, &self.follower));
        match (node, rules.verdict(attributes)) {
            (Some(Ok(())), _) => Decision { allowed: true, reason: String::new() },
            (_, Verdict::Allowed(reason)) => Decision { allowed: true, reason },
            (node, Verdict::NoOpinion(missing)) => {
                let node = node.and_then(Result::err).unwrap_or_default();
                let reasons = [("node", node), ("rbac", missing)].into_iter().filter(|(_, reason)| !reason.is_empty());
                let reasons: Vec<_> = reasons.map(|(name, reason)| format!("{name}: {reason}")).collect();
                Decision { allowed: false, reason: reasons.join("\n") }
            }
        }
    }

    fn rules_of(&self, user: &User, namespace: &str) -> Vec<PolicyRule> {
        self.rules().of(user, namespace)
    }

    fn rules_of_role(&self, role: &RoleRef, namespace: &str) -> Option<Vec<PolicyRule>> {
        self.rules().of_role(role, namespace).map(<[_]>::to_vec)
    }
}

/// RBAC alone.
impl Decider for Rules {
    fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        match self.verdict(attributes) {
            Verdict::Allowed(reason) => Decision { allowed: true, reason },
            Verdict::NoOpinion(reason) => Decision { allowed: false, reason },
        }
    }

    fn rules_of(&self, user: &User, namespace: &str) -> Vec<PolicyRule> {
        self.of(user, namespace)
    }

    fn rules_of_role(&self, role: &RoleRef, namespace: &str) -> Option<Vec<PolicyRule>> {
        self.of_role(role, namespace).map(<[_]>::to_vec)
    }
}

fn is_master(user: &User) -> bool {
    user.groups.iter().any(|group| group == MASTERS)
}
