//! Volumes that a claim may be bound to, and where volumes can be made. Source: `FindMatchingVolume` in
//! `k8s.io/component-helpers/storage/volume`, `hasEnoughCapacity`.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::{CSIStorageCapacity, StorageClass},
};
use kubelab_api::{
    Quantity,
    meta::is_deleting,
    selector::{label::Selector, node::Terms},
    volume::{Wanted, amount, capacity, class_of_claim, class_of_volume, requested},
};

use super::claims::reach;
use crate::framework::{NodeInfo, Objects};

/// A volume that may be free.
pub struct Available {
    /// It.
    pub volume: Arc<PersistentVolume>,
    size: Quantity,
    reach: Option<Terms>,
}

impl Available {
    /// A class' volumes, the smallest first.
    pub fn of_class(class: &str, objects: &Objects) -> Vec<Self> {
        let of_class =
            |volume: &Arc<PersistentVolume>| class_of_volume(volume) == class && !is_deleting(&volume.metadata);
        let read = |volume: Arc<PersistentVolume>| Self { size: capacity(&volume), reach: reach(&volume), volume };
        let mut available: Vec<Self> = objects.volumes.list().into_iter().filter(of_class).map(read).collect();
        available.sort_by(|one, other| (one.size, one.name()).cmp(&(other.size, other.name())));
        available
    }

    /// The volume's name.
    pub fn name(&self) -> &str {
        self.volume.metadata.name.as_deref().unwrap_or_default()
    }

    /// The volume for a claim on a node: one that was reserved for it, or the smallest that will do and is not taken.
    pub fn smallest<'a>(
        available: &'a [Self],
        claim: &PersistentVolumeClaim,
        node: &NodeInfo,
        taken: &[&str],
    ) -> Option<&'a Self> {
        let (wanted, size) = (Wanted::by(claim), requested(claim));
        let mut left = available.iter().filter(|it| it.size >= size && !taken.contains(&it.name()));
        if let Some(reserved) = left.clone().find(|it| wanted.has_reserved(&it.volume)) {
            return Some(reserved).filter(|it| it.reaches(node));
        }
        left.find(|it| it.reaches(node) && wanted.may_take(&it.volume))
    }

    fn reaches(&self, node: &NodeInfo) -> bool {
        self.reach.as_ref().is_none_or(|reach| reach.matches("", node.labels()))
    }
}

/// Volumes of this class can be made for this node: it is in one of its topologies. Source:
/// `MatchTopologySelectorTerms`.
pub fn fits_topology(class: &StorageClass, node: &NodeInfo) -> bool {
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    let value = |key: &str| node.labels().and_then(|labels| labels.get(key));
    terms.is_empty()
        || terms.iter().any(|term| {
            let mut expressions = term.match_label_expressions.iter().flatten();
            expressions.all(|wanted| value(&wanted.key).is_some_and(|value| wanted.values.contains(value)))
        })
}

/// How large a volume a pool can make at most.
pub fn limit(pool: &CSIStorageCapacity) -> Option<Quantity> {
    pool.maximum_volume_size.as_ref().or(pool.capacity.as_ref()).map(|text| amount(Some(text)))
}

/// The pools of drivers that say how much they have.
pub struct Pools {
    drivers: Vec<String>,
    pools: Vec<(String, Option<Quantity>, Selector)>,
}

impl Pools {
    /// All that there are.
    pub fn of(objects: &Objects) -> Self {
        let (mut drivers, mut pools) = (Vec::new(), Vec::new());
        objects.csi_drivers.each(|driver| {
            if driver.spec.storage_capacity == Some(true) {
                drivers.extend(driver.metadata.name.clone());
            }
        });
        if !drivers.is_empty() {
            objects.capacities.each(|pool| {
                let nodes = Selector::from_typed(pool.node_topology.as_ref()).unwrap_or(Selector::Nothing);
                pools.push((pool.storage_class_name.clone(), limit(pool), nodes));
            });
        }
        Self { drivers, pools }
    }

    /// A volume for this claim can be made for this node; so it is if its driver does not say how much it has.
    pub fn have_room(&self, class: &StorageClass, claim: &PersistentVolumeClaim, node: &NodeInfo) -> bool {
        if !self.drivers.contains(&class.provisioner) {
            return true;
        }
        let wanted = requested(claim);
        let name = class_of_claim(claim);
        self.pools.iter().any(|(class, limit, nodes)| {
            class == name && limit.is_some_and(|limit| limit >= wanted) && nodes.matches(node.labels())
        })
    }
}
