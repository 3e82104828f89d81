//! Volumes that a claim may be bound to, and where volumes can be made. Source: `FindMatchingVolume` in
//! `k8s.io/component-helpers/storage/volume`, `hasEnoughCapacity`.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim},
        storage::v1::{CSIStorageCapacity, StorageClass},
    },
    apimachinery::pkg::api::resource::Quantity as Text,
};
use kubelab_api::{Quantity, selector::label::Selector};

use super::claims::{class_name, reach};
use crate::{
    framework::{NodeInfo, Objects},
    plugins::node_selector::Terms,
};

/// A volume that may be free.
pub struct Available {
    /// It.
    pub volume: Arc<PersistentVolume>,
    size: i64,
    reach: Option<Terms>,
}

fn amount(text: Option<&Text>) -> i64 {
    text.and_then(|text| Quantity::try_from(text).ok()).map_or(0, Quantity::value)
}

impl Available {
    /// A class' volumes, the smallest first.
    pub fn of_class(class: &str, objects: &Objects) -> Vec<Self> {
        let of_class = |volume: &Arc<PersistentVolume>| {
            let spec = volume.spec.as_ref();
            spec.and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default() == class
                && volume.metadata.deletion_timestamp.is_none()
        };
        let read = |volume: Arc<PersistentVolume>| {
            let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
            Self { size: amount(capacity), reach: reach(&volume), volume }
        };
        let mut available: Vec<Self> = objects.volumes.list().into_iter().filter(of_class).map(read).collect();
        available.sort_by(|one, other| (one.size, one.name()).cmp(&(other.size, other.name())));
        available
    }

    /// How much a claim wants, in bytes.
    pub fn wanted(claim: &PersistentVolumeClaim) -> i64 {
        let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
        amount(requests.and_then(|requests| requests.get("storage")))
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
        let wanted = Self::wanted(claim);
        let will_do = |it: &&Self| it.size >= wanted && !taken.contains(&it.name()) && it.suits(claim);
        let reserved = available.iter().filter(will_do).find(|it| it.reserved_for(claim) == Some(true));
        if let Some(reserved) = reserved {
            return Some(reserved).filter(|it| it.reaches(node));
        }
        let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let selector = selector.map(|selector| Selector::from_typed(Some(selector)).unwrap_or(Selector::Nothing));
        available.iter().filter(will_do).find(|it| {
            it.reserved_for(claim).is_none()
                && it.volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available")
                && selector.as_ref().is_none_or(|selector| selector.matches(it.volume.metadata.labels.as_ref()))
                && it.reaches(node)
        })
    }

    /// It is for this claim, for another, or for nobody yet.
    fn reserved_for(&self, claim: &PersistentVolumeClaim) -> Option<bool> {
        let reference = self.volume.spec.as_ref()?.claim_ref.as_ref()?;
        let meta = &claim.metadata;
        let same = reference.name == meta.name
            && reference.namespace == meta.namespace
            && reference.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == meta.uid.as_ref());
        Some(same)
    }

    fn suits(&self, claim: &PersistentVolumeClaim) -> bool {
        let (Some(volume), Some(claim)) = (&self.volume.spec, &claim.spec) else { return false };
        let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
        let offered = volume.access_modes.as_deref().unwrap_or_default();
        mode(&volume.volume_mode) == mode(&claim.volume_mode)
            && claim.access_modes.iter().flatten().all(|wanted| offered.contains(wanted))
            && volume.volume_attributes_class_name == claim.volume_attributes_class_name
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

/// How large a volume a pool can make at most, in bytes.
pub fn limit(pool: &CSIStorageCapacity) -> Option<i64> {
    pool.maximum_volume_size.as_ref().or(pool.capacity.as_ref()).map(|text| amount(Some(text)))
}

/// The pools of drivers that say how much they have.
pub struct Pools {
    drivers: Vec<String>,
    pools: Vec<(String, Option<i64>, Selector)>,
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
        let wanted = Available::wanted(claim);
        let name = class_name(claim);
        self.pools.iter().any(|(class, limit, nodes)| {
            class == name && limit.is_some_and(|limit| limit >= wanted) && nodes.matches(node.labels())
        })
    }
}
