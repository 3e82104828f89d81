//! What one object uses, and which quotas are about it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ScopedResourceSelectorRequirement, Service,
};

use super::{Amounts, claim, count_of, parsed, pod, scopes, service};
use crate::Quantity;

/// Resources whose number has a short name besides `count/`. Source: `legacyObjectCountAliases`.
const ALIASES: [&str; 4] = ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];

/// Something that uses quotas.
#[derive(Clone, Copy)]
pub enum Item<'a> {
    /// A pod: also what its containers ask for and may use.
    Pod(&'a Pod),
    /// A service: also its node ports and load balancers.
    Service(&'a Service),
    /// A claim: also the storage that it asks for, by storage class too.
    Claim(&'a PersistentVolumeClaim),
    /// Anything else is only counted: the resource, with its group, as in `deployments.apps`.
    Other(&'a str),
}

impl Item<'_> {
    /// What it uses.
    pub fn usage(&self, now: Timestamp) -> Amounts {
        match self {
            Self::Pod(pod) => pod::usage(pod, now),
            Self::Service(service) => service::usage(service),
            Self::Claim(claim) => claim::usage(claim),
            Self::Other(resource) => {
                let alias = ALIASES.contains(resource).then(|| (*resource).to_owned());
                let names = alias.into_iter().chain([count_of(resource)]);
                names.map(|name| (name, Quantity::new(1, Default::default()))).collect()
            }
        }
    }

    /// Objects of its kind use what has this name.
    pub fn tracks(&self, name: &str) -> bool {
        match self {
            Self::Pod(_) => pod::tracks(name),
            Self::Service(_) => service::tracks(name),
            Self::Claim(_) => claim::tracks(name),
            Self::Other(resource) => name == count_of(resource) || (name == *resource && ALIASES.contains(resource)),
        }
    }

    /// It is within a scope.
    pub fn is_in(&self, scope: &ScopedResourceSelectorRequirement) -> bool {
        match self {
            Self::Pod(pod) => pod::is_in(pod, scope),
            Self::Claim(claim) => claim::is_in(claim, scope),
            Self::Service(_) | Self::Other(_) => false,
        }
    }

    /// What it is now may be in other scopes than what it was, for reasons that admission does not charge.
    /// Source: `RequiresQuotaReplenish`.
    pub fn has_moved(&self, old: &Item<'_>) -> bool {
        match (old, self) {
            (Item::Claim(old), Self::Claim(new)) => claim::classes(old) != claim::classes(new),
            _ => false,
        }
    }

    /// The quota, as it is in force, is about this.
    pub(super) fn is_limited_by(&self, quota: &ResourceQuota) -> bool {
        let hard = parsed(quota.status.as_ref().and_then(|status| status.hard.as_ref()));
        hard.keys().any(|name| self.tracks(name)) && scopes(quota).iter().all(|scope| self.is_in(scope))
    }

    /// What it must say and does not, where a quota limits this.
    pub(super) fn unsaid(&self, limited: &[&str]) -> Option<String> {
        match self {
            Self::Pod(pod) => pod::unsaid(pod, limited),
            _ => None,
        }
    }
}
