//! Claims that wait for their first consumer are bound where the pod goes: to a volume that is there, or to one that is made
//! there. Claims that are bound already decide where the pod can go.
//!
//! ```text
//! pre-filter: which claims are bound, which wait     reserve: the volumes and claims are assumed to be bound so
//! filter: does each have a volume for this node?     pre-bind: that is written, and waited for
//! ```
//!
//! Source: upstream's `plugins/volumebinding`.

mod binding;
mod claims;
mod matching;

use std::time::Duration;

use self::{
    binding::{Bindings, bind},
    claims::Claims,
};
use crate::framework::{
    ClusterEvent, CycleState, Events, Filter, Handle, NodeInfo, Objects, Plugin, PodInfo, PreBind, PreBindFuture,
    PreFilter, PreFiltered, Rejection, Reserve, Snapshot, Verdict,
};

/// Upstream: `VolumeBinding`.
#[derive(Clone, Debug)]
pub struct VolumeBinding {
    /// How long a pod's volumes may take.
    pub bind_timeout: Duration,
}

impl Default for VolumeBinding {
    fn default() -> Self {
        Self { bind_timeout: Duration::from_secs(600) }
    }
}

const NAME: &str = "VolumeBinding";

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn events(&self) -> Events {
        Events::CLAIM
            | Events::VOLUME
            | Events::CLASS
            | Events::NODE_ADDED
            | Events::NODE_LABELS
            | Events::CSI_DRIVER
            | Events::CAPACITY
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::Claim(claim) => {
                claim.metadata.namespace.as_deref() == Some(pod.namespace())
                    && pod.claims.iter().any(|own| claim.metadata.name.as_deref() == Some(&*own.name))
            }
            ClusterEvent::Class { old: Some(old), new } => old.allowed_topologies != new.allowed_topologies,
            ClusterEvent::CsiDriver { old, new } => {
                old.spec.storage_capacity == Some(true) && new.spec.storage_capacity != Some(true)
            }
            ClusterEvent::Capacity { old: Some(old), new } => matching::limit(new) > matching::limit(old),
            _ => true,
        }
    }
}

impl PreFilter for VolumeBinding {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, snapshot: &Snapshot) -> Result<PreFiltered, Rejection> {
        if pod.claims.is_empty() {
            return Ok(PreFiltered::Skip);
        }
        let claims = Claims::of(pod, snapshot.objects()).map_err(|why| Rejection::unresolvable(NAME, why))?;
        state.put(claims);
        Ok(PreFiltered::All)
    }
}

impl Filter for VolumeBinding {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Verdict {
        let Some(claims) = state.get::<Claims>() else { return Ok(()) };
        claims.on(node).map(drop).map_err(|reasons| {
            let reasons = reasons.into_iter().map(Into::into).collect();
            Rejection { plugin: NAME, reasons, resolvable: false }
        })
    }
}

impl Reserve for VolumeBinding {
    /// Nobody else is to take the volumes. What is decided is what the filter saw: nothing happens between.
    fn reserve(&self, state: &CycleState, plans: &mut CycleState, node: &NodeInfo, objects: &Objects) {
        let Some(decisions) = state.get::<Claims>().and_then(|claims| claims.on(node).ok()) else { return };
        let bindings = Bindings::of(&decisions, node.name());
        if !bindings.is_empty() {
            bindings.assume(objects);
            plans.put(bindings);
        }
    }

    fn unreserve(&self, plans: &CycleState, objects: &Objects) {
        if let Some(bindings) = plans.get::<Bindings>() {
            bindings.restore(objects);
        }
    }
}

impl PreBind for VolumeBinding {
    fn has_work(&self, plans: &CycleState) -> bool {
        plans.get::<Bindings>().is_some()
    }

    fn pre_bind<'a>(
        &'a self,
        plans: &'a CycleState,
        _: &'a PodInfo,
        node: &'a str,
        handle: &'a Handle,
    ) -> PreBindFuture<'a> {
        Box::pin(async move {
            match plans.get::<Bindings>() {
                Some(bindings) => bind(bindings, node, handle, self.bind_timeout).await,
                None => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests;
