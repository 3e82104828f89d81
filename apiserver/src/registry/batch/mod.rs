//! The group `batch`.

pub mod cron_job;
pub mod job;
mod job_status;
mod policies;

#[cfg(test)]
mod tests;
