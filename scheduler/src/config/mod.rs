//! How the scheduler is configured: `KubeSchedulerConfiguration` (kubescheduler.config.k8s.io/v1).
//!
//! | module | what it is |
//! | --- | --- |
//! | `document` | the file as it is written |
//! | `plugins` | which plugins a profile runs where |
//! | `args` | what plugins are told |
//!
//! Source: upstream's `apis/config`, its defaults and its validation.

mod args;
mod document;
mod plugins;

use std::{io, path::Path, time::Duration};

use kubelab_api::field::{self, Errors};

use self::document::{Document, ProfileDocument};
use crate::{
    framework::{DEFAULT_SCHEDULER, Profile, Profiles},
    parallel::Parallelism,
    queue::Backoff,
};

const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";
const KIND: &str = "KubeSchedulerConfiguration";

/// What the scheduler is told.
#[derive(Default)]
pub struct Configuration {
    /// The profiles.
    pub profiles: Profiles,
    /// How long pods wait that could not be placed.
    pub backoff: Backoff,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the scheduler's configuration {path} cannot be read: {source}")]
    Unreadable {
        /// Where it should be.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// It is not YAML, or has fields that are not known or of another type.
    #[error("the scheduler's configuration is malformed: {0}")]
    Malformed(String),
    /// It is of another kind, or of a version that is not known.
    #[error(
        "no kind {kind:?} is registered for version {version:?} in the scheduler's configuration: it must be a {KIND} of \
         {API_VERSION}"
    )]
    OtherKind {
        /// What it says it is.
        kind: String,
        /// Of which version.
        version: String,
    },
    /// Its values make no sense.
    #[error("the scheduler's configuration is invalid: {0}")]
    Invalid(Errors),
}

impl Configuration {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// Reads the text of a file.
    pub fn parse(yaml: &str) -> Result<Self, Error> {
        let document: Document = serde_saphyr::from_str(yaml).map_err(|error| Error::Malformed(error.to_string()))?;
        if document.kind != KIND || document.api_version != API_VERSION {
            return Err(Error::OtherKind { kind: document.kind, version: document.api_version });
        }
        let mut errors = Errors::default();
        let backoff = backoff(&document, &mut errors);
        let parallelism = parallelism(document.parallelism, &mut errors);
        if !document.extenders.is_empty() {
            errors.forbidden(&field::Path::new("extenders"), "this scheduler calls no extenders; remove them");
        }
        let share = percentage(document.percentage_of_nodes_to_score, &field::Path::default(), &mut errors);
        let mut profiles = profiles(document.profiles, share, &mut errors);
        profiles.iter_mut().for_each(|profile| profile.parallelism = parallelism);
        if errors.is_empty() {
            Ok(Self { profiles: Profiles::new(profiles), backoff })
        } else {
            Err(Error::Invalid(errors))
        }
    }
}

fn backoff(document: &Document, errors: &mut Errors) -> Backoff {
    let default = Backoff::default();
    let initial = document.pod_initial_backoff_seconds.unwrap_or(default.initial.as_secs() as i64);
    let max = document.pod_max_backoff_seconds.unwrap_or(default.max.as_secs() as i64);
    if initial <= 0 {
        errors.invalid(&field::Path::new("podInitialBackoffSeconds"), initial, "must be greater than 0");
    }
    if max < initial {
        let detail = "must be greater than or equal to PodInitialBackoffSeconds";
        errors.invalid(&field::Path::new("podMaxBackoffSeconds"), max, detail);
    }
    let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    Backoff { initial: seconds(initial), max: seconds(max) }
}

fn parallelism(value: Option<i64>, errors: &mut Errors) -> Parallelism {
    let Some(threads) = value else { return Parallelism::default() };
    if threads <= 0 {
        errors.invalid(&field::Path::new("parallelism"), threads, "should be an integer value greater than zero");
    }
    Parallelism::new(usize::try_from(threads).unwrap_or_default())
}

fn percentage(value: Option<i64>, path: &field::Path, errors: &mut Errors) -> usize {
    let value = value.unwrap_or_default();
    if !(0..=100).contains(&value) {
        errors.invalid(&path.child("percentageOfNodesToScore"), value, "not in valid range [0-100]");
    }
    usize::try_from(value).unwrap_or_default()
}

fn profiles(documents: Vec<ProfileDocument>, share: usize, errors: &mut Errors) -> Vec<Profile> {
    // A configuration that names no profile has the default one.
    let documents = if documents.is_empty() { vec![ProfileDocument::default()] } else { documents };
    let alone = documents.len() == 1;
    let mut profiles: Vec<Profile> = Vec::new();
    for (at, mut document) in documents.into_iter().enumerate() {
        let path = field::Path::new("profiles").index(at);
        if document.scheduler_name.is_none() && alone {
            document.scheduler_name = Some(DEFAULT_SCHEDULER.to_owned());
        }
        let name = document.scheduler_name.clone().unwrap_or_default();
        if name.is_empty() {
            errors.required(&path.child("schedulerName"), "");
        }
        if profiles.iter().any(|profile| profile.scheduler_name == name) {
            errors.duplicate(&path.child("schedulerName"), name.as_str());
        }
        let own = document.percentage_of_nodes_to_score;
        let share = if own.is_some() { percentage(own, &path, errors) } else { share };
        if let Some(mut profile) = plugins::profile(&document, &path, errors) {
            profile.percentage_of_nodes_to_score = share;
            profiles.push(profile);
        }
    }
    // Pods of all profiles stand in one queue. Source: `validateCommonQueueSort`.
    for (at, profile) in profiles.iter().enumerate().skip(1) {
        if profile.queue_sort.name() != profiles[0].queue_sort.name() {
            let path = field::Path::new("profiles").index(at).child("plugins").child("queueSort");
            errors.invalid(&path, profile.queue_sort.name(), "must be the same for all profiles");
        }
    }
    profiles
}

impl Default for Profile {
    /// `default-scheduler`, with the plugins of every cluster.
    fn default() -> Self {
        plugins::default_profile()
    }
}

#[cfg(test)]
mod tests;
