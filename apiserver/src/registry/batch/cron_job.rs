//! CronJob. Source: `pkg/apis/batch/v1/defaults.go`, `pkg/apis/batch/validation/validation.go`,
//! `pkg/registry/batch/cronjob/strategy.go`.

use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::api::batch::v1::CronJob;
use kubelab_api::{
    cron::Schedule,
    field::{Errors, Path},
};
use serde_json::Value;

use super::job;
use crate::registry::{
    apps::workload,
    cells::{
        self, AGE, CONTAINERS, IMAGES, NAME, NONE, SELECTOR, UNSET, cells, count, since, template_containers, text,
    },
    core::pod,
    defaults::{self, missing},
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{json, nonnegative, required_choice},
};

/// CronJob.
pub struct CronJobKind;

/// A job's name is its CronJob's and 11 characters, and must be a label.
const NAME_MAX: usize = 63 - 11;

impl Kind for CronJobKind {
    type Object = CronJob;

    fn default(cron: &mut CronJob) {
        let spec = &mut cron.spec;
        defaults::text(&mut spec.concurrency_policy, "Allow");
        missing(&mut spec.suspend, false);
        missing(&mut spec.successful_jobs_history_limit, 3);
        missing(&mut spec.failed_jobs_history_limit, 1);
        let of_jobs = spec.job_template.spec.get_or_insert_default();
        job::drop_disabled(of_jobs);
        pod::defaults::template(&mut of_jobs.template);
    }

    spec_and_status!(generation);

    fn validate(cron: &CronJob, errors: &mut Errors) {
        let (spec, path) = (&cron.spec, Path::new("spec"));
        let name = cells::name(&cron.metadata);
        if name.len() > NAME_MAX {
            let detail = format!("must be no more than {NAME_MAX} characters");
            errors.invalid(&Path::new("metadata").child("name"), name, &detail);
        }
        let at = path.child("schedule");
        if spec.schedule.is_empty() {
            errors.required(&at, "");
        } else if spec.schedule.contains("TZ") {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.invalid(&at, spec.schedule.as_str(), detail);
        } else if let Err(wrong) = Schedule::parse(&spec.schedule) {
            errors.invalid(&at, spec.schedule.as_str(), &wrong);
        }
        if let Some(zone) = &spec.time_zone {
            let at = path.child("timeZone");
            if zone.is_empty() {
                errors.invalid(&at, "", "timeZone must be nil or non-empty string");
            } else if zone.eq_ignore_ascii_case("local") {
                errors.invalid(
                    &at,
                    zone.as_str(),
                    "timeZone must be an explicit time zone as defined in \
                    https://www.iana.org/time-zones",
                );
            } else if TimeZone::get(zone).is_err() {
                errors.invalid(&at, zone.as_str(), &format!("unknown time zone {zone}"));
            }
        }
        nonnegative(spec.starting_deadline_seconds, &path.child("startingDeadlineSeconds"), errors);
        let policies = ["Allow", "Forbid", "Replace"];
        required_choice(text(&spec.concurrency_policy), &policies, &path.child("concurrencyPolicy"), errors);
        let template = path.child("jobTemplate").child("spec");
        if let Some(job) = &spec.job_template.spec {
            job::validate_spec(job, &template, errors);
            if let Some(selector) = &job.selector {
                errors.invalid(&template.child("selector"), json(selector), "`selector` will be auto-generated");
            }
            if job.manual_selector == Some(true) {
                errors.not_among(&template.child("manualSelector"), true, &["nil", "false"]);
            }
        }
        nonnegative(spec.successful_jobs_history_limit, &path.child("successfulJobsHistoryLimit"), errors);
        nonnegative(spec.failed_jobs_history_limit, &path.child("failedJobsHistoryLimit"), errors);
    }

    fn warnings(cron: &CronJob) -> Vec<String> {
        let template = cron.spec.job_template.spec.as_ref().map(|job| &job.template);
        let path = Path::new("spec").child("jobTemplate").child("spec").child("template");
        let mut warnings = workload::create_warnings(&cron.metadata, None);
        warnings.extend(workload::template_warnings(template, &path));
        warnings
    }

    fn update_warnings(new: &CronJob, old: &CronJob) -> Vec<String> {
        let template = |cron: &CronJob| cron.spec.job_template.spec.as_ref().map(|job| job.template.clone());
        let path = Path::new("spec").child("jobTemplate").child("spec").child("template");
        let (new, old) = (template(new), template(old));
        if new == old { Vec::new() } else { workload::template_warnings(new.as_ref(), &path) }
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Schedule", "string"),
        column("Timezone", "string"),
        column("Suspend", "boolean"),
        column("Active", "integer"),
        column("Last Schedule", "string"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ];

    fn cells(cron: &CronJob, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&cron.spec, cron.status.as_ref());
        let job = spec.job_template.spec.as_ref();
        let (names, images) = cells::containers(job.map_or(&[][..], |job| template_containers(&job.template)));
        let suspend = match spec.suspend {
            Some(true) => "True",
            Some(false) => "False",
            None => UNSET,
        };
        let last = status.and_then(|status| status.last_schedule_time.as_ref());
        cells![
            cells::name(&cron.metadata),
            spec.schedule.as_str(),
            spec.time_zone.as_deref().unwrap_or(NONE),
            suspend,
            status.map_or(0, |status| count(&status.active)),
            last.map_or_else(|| NONE.to_owned(), |last| since(Some(last), now)),
            age(&cron.metadata, now),
            names,
            images,
            cells::selector(job.and_then(|job| job.selector.as_ref())),
        ]
    }
}
