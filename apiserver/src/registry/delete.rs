//! Delete. Source of the order of steps: `registry/rest/delete.go` and `registry/generic/registry/store.go`.
//!
//! | the object has | what a deletion does |
//! | --- | --- |
//! | nothing that holds it | it is gone |
//! | a grace period (pods that run) | `deletionTimestamp` and `deletionGracePeriodSeconds`; the kubelet ends it |
//! | finalizers, or the propagation policy adds one | `deletionTimestamp`; the last finalizer's removal ends it |

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Status, StatusDetails, Time};
use kubelab_api::{
    Error, Resource,
    field::{Errors, Path},
};
use kubelab_store::{Precondition, Write};

use super::{
    decode::{self, Expected, Validation},
    metadata::{FOREGROUND, ORPHAN, options_kind, seconds},
    object::AnyObject,
    plan::{Context, Plan, Shown, Stored, encode, restamped},
};
use crate::{
    admission::{Operation, dynamic},
    corridor::{Body, Request},
};

/// What the caller says about how to delete.
pub fn options(request: &Request) -> Result<DeleteOptions, Error> {
    let mut options = match &request.body {
        Body::Json(json) if !json.is_empty() => {
            let expected = Expected { group: "meta.k8s.io", version: "v1", kind: "DeleteOptions" };
            // Clients of old send the options in the group of the object.
            let spoken = decode::api_version(json).unwrap_or_default();
            let (group, version) = spoken.split_once('/').unwrap_or(("", &spoken));
            let expected = if spoken.is_empty() { expected } else { Expected { group, version, ..expected } };
            decode::decode_body::<DeleteOptions>(&expected, json, Validation::Ignore)?.0
        }
        _ => DeleteOptions::default(),
    };
    if request.options.dry_run {
        options.dry_run = Some(vec!["All".into()]);
    }
    validate(&options)?;
    Ok(options)
}

/// Source: `ValidateDeleteOptions` in `k8s.io/apimachinery/pkg/apis/meta/v1/validation`.
fn validate(options: &DeleteOptions) -> Result<(), Error> {
    let mut errors = Errors::default();
    let path = Path::new("propagationPolicy");
    if let Some(policy) = &options.propagation_policy {
        if options.orphan_dependents.is_some() {
            let wrong = "orphanDependents and deletionPropagation cannot be both set";
            errors.invalid(&path, policy.as_str(), wrong);
        }
        if !["Foreground", "Background", "Orphan"].contains(&policy.as_str()) {
            errors.not_supported(&path, policy, &["Foreground", "Background", "Orphan", "nil"]);
        }
    }
    if options.dry_run.iter().flatten().any(|value| value != "All") {
        let value = options.dry_run.iter().flatten().find(|value| *value != "All");
        errors.not_supported(&Path::new("dryRun"), value.map_or("", String::as_str), &["All"]);
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::invalid(&options_kind("DeleteOptions"), "", &errors)) }
}

/// A DELETE of one object.
pub fn plan(context: &Context, name: &str, options: &DeleteOptions) -> Result<Plan, Error> {
    let stored = context.existing(name)?;
    delete(context, &stored, options)
}

/// Lets go of an object, at once or as soon as nothing holds it.
pub fn delete(context: &Context, stored: &Stored, options: &DeleteOptions) -> Result<Plan, Error> {
    let rules = &context.handler.rules;
    check_preconditions(context, stored, options)?;
    if context.request.subresource.is_empty() {
        dynamic::validate(context, &context.attributes(Operation::Delete), None, Some(&*stored.object))?;
    }

    let mut object = stored.object.duplicate();
    let grace = match grace(&*object, rules.grace_seconds(&*object, options.grace_period_seconds), options, context.now)
    {
        Grace::Pending => return Ok(Plan::nothing(gone(context, stored))),
        grace => grace,
    };
    let first = object.metadata().deletion_timestamp.is_none();
    let meta = object.metadata_mut();
    if let Grace::Until(time, period) = &grace {
        meta.deletion_timestamp = Some(time.clone());
        meta.deletion_grace_period_seconds = Some(*period);
    }
    if let Some(finalizers) = finalizers(meta, options, rules.orphans_dependents()) {
        meta.finalizers = Some(finalizers);
    }
    let held = !meta.finalizers.as_deref().unwrap_or_default().is_empty();
    let finalizing = rules.finalizing(&*object);
    let gentle = matches!(grace, Grace::Until(_, period) if period > 0);
    if !held && !finalizing && !gentle {
        return remove(context, stored, options);
    }
    if !gentle {
        mark_deleting(object.metadata_mut(), held, context.now);
    }
    if first {
        rules.prepare_delete(&mut *object);
        if let Some(generation) = object.metadata().generation.filter(|generation| *generation > 0) {
            object.metadata_mut().generation = Some(generation + 1);
        }
    }
    if object.equals(&*stored.object) {
        return Ok(Plan::nothing(Shown::Finished(stored.entry.value.clone())));
    }
    if is_dry(options) {
        return Ok(Plan::nothing(Shown::Finished(object.encode()?.into())));
    }
    let encoded = encode(context, &stored.key, &mut *object, false)?;
    Ok(Plan {
        preconditions: vec![Precondition::Modified(stored.key.clone(), stored.entry.modified)],
        writes: vec![encoded.write],
        note: if first { "deletion begins".into() } else { String::new() },
        warnings: Vec::new(),
        shown: encoded.shown,
    })
}

fn is_dry(options: &DeleteOptions) -> bool {
    options.dry_run.iter().flatten().any(|value| value == "All")
}

/// The object is gone at once.
fn remove(context: &Context, stored: &Stored, options: &DeleteOptions) -> Result<Plan, Error> {
    let shown = gone(context, stored);
    if is_dry(options) {
        return Ok(Plan::nothing(match shown {
            Shown::Stamped { .. } => Shown::Finished(stored.entry.value.clone()),
            shown => shown,
        }));
    }
    let mut claims = context.claims(&stored.key);
    context.handler.rules.claim(None, Some(&*stored.object), &mut claims, &mut Errors::default());
    let (_, mut writes) = claims.into_parts();
    writes.insert(0, Write::Delete { key: stored.key.clone() });
    Ok(Plan {
        preconditions: vec![Precondition::Modified(stored.key.clone(), stored.entry.modified)],
        writes,
        note: String::new(),
        warnings: Vec::new(),
        shown,
    })
}

/// What the caller sees of an object that goes at once. Source: `finalizeDelete`.
fn gone(context: &Context, stored: &Stored) -> Shown {
    if context.handler.rules.returns_deleted() {
        return restamped(&stored.entry);
    }
    let resource = &context.handler.resource;
    Shown::Status(Box::new(Status {
        status: Some("Success".into()),
        details: Some(StatusDetails {
            name: stored.object.metadata().name.clone(),
            group: Some(resource.group.to_string()).filter(|group| !group.is_empty()),
            kind: Some(resource.plural.to_string()),
            uid: stored.object.metadata().uid.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }))
}

fn check_preconditions(context: &Context, stored: &Stored, options: &DeleteOptions) -> Result<(), Error> {
    let Some(preconditions) = &options.preconditions else { return Ok(()) };
    let meta = stored.object.metadata();
    // Upstream names the kind here, where other conflicts name the resource.
    let refuse = |message: &str| {
        let mut error = Error::conflict(&context.handler.resource, stored.object.name(), message);
        let resource = &context.handler.resource;
        let kind = Resource { plural: resource.kind.clone(), ..(**resource).clone() };
        error.message = Error::conflict(&kind, stored.object.name(), message).message;
        Err(error)
    };
    let present = meta.uid.as_deref().unwrap_or_default();
    if let Some(uid) = preconditions.uid.as_deref().filter(|uid| *uid != present) {
        return refuse(&format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({present}). The object might have \
             been deleted and then recreated"
        ));
    }
    let present = stored.entry.modified.to_string();
    if let Some(version) = preconditions.resource_version.as_deref().filter(|version| *version != present) {
        return refuse(&format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
             ({present}). The object might have been modified"
        ));
    }
    Ok(())
}

/// What the grace period comes to.
#[derive(Debug, PartialEq)]
enum Grace {
    /// The kind has none, or it is over.
    None,
    /// It ends then, after so many seconds.
    Until(Time, i64),
    /// It runs already, and no shorter one was asked for.
    Pending,
}

/// Source: `BeforeDelete`.
fn grace(object: &dyn AnyObject, seconds_by_kind: Option<i64>, options: &DeleteOptions, now: Timestamp) -> Grace {
    let Some(wanted) = seconds_by_kind else { return Grace::None };
    let meta = object.metadata();
    let Some(end) = &meta.deletion_timestamp else {
        let wanted = if wanted < 0 { 1 } else { wanted };
        return Grace::Until(seconds(now + SignedDuration::from_secs(wanted)), wanted);
    };
    let running = match meta.deletion_grace_period_seconds {
        None | Some(0) => return Grace::None,
        Some(running) => running,
    };
    let asked = options.grace_period_seconds.map(|asked| if asked < 0 { 1 } else { asked });
    let Some(mut asked) = asked.filter(|asked| *asked < running) else { return Grace::Pending };
    let mut end = end.0 - SignedDuration::from_secs(running) + SignedDuration::from_secs(asked);
    if end < now {
        end = now;
        asked = asked.min(1);
    }
    Grace::Until(seconds(end), asked)
}

/// Source: `markAsDeleting`.
fn mark_deleting(meta: &mut ObjectMeta, held: bool, now: Timestamp) {
    if meta.deletion_timestamp.as_ref().is_none_or(|end| end.0 > now) {
        meta.deletion_timestamp = Some(seconds(now));
    }
    if held {
        meta.deletion_grace_period_seconds = Some(0);
    }
}

/// The finalizers that the propagation policy leads to, if they differ from those there are.
/// Source: `deletionFinalizersForGarbageCollection`.
fn finalizers(meta: &ObjectMeta, options: &DeleteOptions, orphans_by_default: bool) -> Option<Vec<String>> {
    let present = meta.finalizers.as_deref().unwrap_or_default();
    let has = |wanted: &str| present.iter().position(|finalizer| finalizer == wanted);
    let (orphan, foreground) = match (options.orphan_dependents, options.propagation_policy.as_deref()) {
        (Some(orphan), _) => (orphan, false),
        (None, Some("Orphan")) => (true, false),
        (None, Some("Foreground")) => (false, true),
        (None, Some(_)) => (false, false),
        (None, None) => match (has(ORPHAN), has(FOREGROUND)) {
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(orphan), Some(foreground)) => (orphan < foreground, foreground < orphan),
            (None, None) => (orphans_by_default, false),
        },
    };
    let mut wanted: Vec<String> =
        present.iter().filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND).cloned().collect();
    if orphan {
        wanted.push(ORPHAN.into());
    }
    if foreground {
        wanted.push(FOREGROUND.into());
    }
    let same = wanted.len() == present.len() && wanted.iter().all(|finalizer| present.contains(finalizer));
    (!same).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn options(policy: Option<&str>, orphan: Option<bool>) -> DeleteOptions {
        DeleteOptions { propagation_policy: policy.map(str::to_owned), orphan_dependents: orphan, ..Default::default() }
    }

    #[test]
    fn propagation_policies_become_finalizers() {
        let cases: [(&[&str], Option<&str>, Option<bool>, bool, Option<&[&str]>); 11] = [
            (&[], None, None, false, None),
            (&[], None, None, true, Some(&[ORPHAN])),
            (&[], Some("Background"), None, true, None),
            (&[], Some("Foreground"), None, false, Some(&[FOREGROUND])),
            (&[], Some("Orphan"), None, false, Some(&[ORPHAN])),
            (&[], None, Some(true), false, Some(&[ORPHAN])),
            (&["a/b"], Some("Foreground"), None, false, Some(&["a/b", FOREGROUND])),
            (&[FOREGROUND], Some("Foreground"), None, false, None),
            (&[FOREGROUND], Some("Background"), None, false, Some(&[])),
            (&[FOREGROUND], None, None, false, None),
            (&[ORPHAN, "a/b"], Some("Foreground"), None, false, Some(&["a/b", FOREGROUND])),
        ];
        for (present, policy, orphan, by_default, wanted) in cases {
            let present = (!present.is_empty()).then(|| present.iter().map(|&name| name.to_owned()).collect());
            let meta = ObjectMeta { finalizers: present, ..Default::default() };
            let found = finalizers(&meta, &options(policy, orphan), by_default);
            let found: Option<Vec<_>> = found.as_ref().map(|list| list.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), wanted, "{meta:?} {policy:?} {orphan:?}");
        }
    }

    #[test]
    fn policies_that_contradict_are_refused() {
        assert!(validate(&options(Some("Orphan"), Some(true))).is_err());
        let error = validate(&options(Some("Backwards"), None)).map_err(|error| error.message);
        assert_eq!(
            error,
            Err("DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Backwards\": \
                 supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                .into())
        );
    }

    #[test]
    fn grace_periods_only_shorten() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000);
        let at = |second: i64| seconds(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second));
        let cases = [
            // (deletes at, running, by the kind, asked, comes to)
            (None, None, None, None, Grace::None),
            (None, None, Some(30), None, Grace::Until(at(1_030), 30)),
            (None, None, Some(0), Some(0), Grace::Until(at(1_000), 0)),
            (Some(1_020), Some(30), Some(30), None, Grace::Pending),
            (Some(1_020), Some(30), Some(60), Some(60), Grace::Pending),
            (Some(1_020), Some(30), Some(20), Some(20), Grace::Until(at(1_010), 20)),
            (Some(1_020), Some(30), Some(5), Some(5), Grace::Until(at(1_000), 1)),
            (Some(1_020), Some(30), Some(0), Some(0), Grace::Until(at(1_000), 0)),
            (Some(1_020), Some(0), Some(30), None, Grace::None),
        ];
        for (deletes_at, running, by_kind, asked, wanted) in cases {
            let mut pod = Pod::default();
            pod.metadata.deletion_timestamp = deletes_at.map(at);
            pod.metadata.deletion_grace_period_seconds = running;
            let options = DeleteOptions { grace_period_seconds: asked, ..Default::default() };
            assert_eq!(grace(&pod, by_kind, &options, now), wanted, "{deletes_at:?} {running:?} {asked:?}");
        }
    }
}
