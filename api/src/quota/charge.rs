//! What a quota's usage becomes with a new or changed object, or why not. Source: `CheckRequest`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;

use super::{Amounts, Item, add, parsed};
use crate::Quantity;

/// What is written.
pub struct Change<'a> {
    /// The object as it will be.
    pub new: Item<'a>,
    /// The object as it was; `None` where it is new.
    pub old: Option<Item<'a>>,
    /// What has been used already is only noted, and not refused: a status.
    pub noted_only: bool,
    /// The present time.
    pub now: Timestamp,
}

/// The usage of this quota once the change is made; `None` where the quota has nothing to do with it; an error where the
/// quota does not allow it.
pub fn charge(quota: &ResourceQuota, change: &Change<'_>) -> Result<Option<Amounts>, String> {
    if !change.new.is_limited_by(quota) {
        return Ok(None);
    }
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let status = quota.status.as_ref();
    let hard = parsed(status.and_then(|status| status.hard.as_ref()));
    let used = parsed(status.and_then(|status| status.used.as_ref()));

    let limited: Vec<&str> = hard.keys().map(String::as_str).filter(|name| change.new.tracks(name)).collect();
    if let Some(unsaid) = change.new.unsaid(&limited) {
        return Err(format!("failed quota: {name}: {unsaid}"));
    }
    if limited.iter().any(|resource| !used.contains_key(*resource)) {
        return Err(format!("status unknown for quota: {name}, resources: {}", limited.join(",")));
    }

    let mut delta = change.new.usage(change.now);
    let negative: Vec<_> =
        delta.iter().filter(|(_, amount)| amount.signum() < 0).map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    if let Some(old) = change.old.filter(|old| old.is_limited_by(quota)) {
        for (name, before) in old.usage(change.now) {
            let now = delta.entry(name).or_default();
            // What is given back is found out by the quota controller.
            *now = (*now - before).max(Quantity::ZERO);
        }
    }
    delta.retain(|name, amount| !amount.is_zero() && hard.contains_key(name));
    if delta.is_empty() {
        return Ok(None);
    }
    let mut next = used.clone();
    add(&mut next, &delta);
    let exceeded: Vec<&str> =
        delta.keys().filter(|name| next.get(*name) > hard.get(*name)).map(String::as_str).collect();
    if !exceeded.is_empty() && !change.noted_only {
        let told = |amounts: &Amounts| {
            let one = |name: &&str| format!("{name}={}", amounts.get(*name).copied().unwrap_or_default());
            exceeded.iter().map(one).collect::<Vec<_>>().join(",")
        };
        return Err(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            told(&delta),
            told(&used),
            told(&hard)
        ));
    }
    Ok(Some(next))
}
