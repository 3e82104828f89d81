//! What a URL's query says. Source of names and conversions: `k8s.io/apimachinery/pkg/apis/meta/v1` (ListOptions,
//! CreateOptions, DeleteOptions, …) and `pkg/runtime/converter.go`.

use bytes::Bytes;
use kubelab_api::{Error, Reason, field::Errors};
use serde_json::{Map, Value, json};

use crate::{
    corridor::{ListOptions, Options, Verb},
    registry::{managers, metadata},
};

/// The parameters of a URL. Where one stands twice, the first counts, as upstream.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part after the question mark.
    pub fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// A parameter's text; `None` where it is missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that may stand several times.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// A switch: anything but `false` and `0` turns it on.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let invalid = |_| Error::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(invalid)
    }

    /// The options of a request with this verb.
    pub fn options(&self, verb: Verb) -> Result<Options, Error> {
        let group = match verb {
            Verb::Create => "CreateOptions",
            Verb::Update => "UpdateOptions",
            Verb::Patch => "PatchOptions",
            Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
            Verb::Get | Verb::List | Verb::Watch => {
                return Ok(Options { list: self.list_options()?, ..Options::default() });
            }
        };
        let dry_run = self.all("dryRun");
        if let Some(wrong) = dry_run.iter().find(|value| **value != "All") {
            return Err(unsupported(group, "dryRun", wrong, &["All"]));
        }
        let field_validation = self.text("fieldValidation");
        if !["", "Ignore", "Warn", "Strict"].contains(&field_validation.as_str()) {
            return Err(unsupported(group, "fieldValidation", &field_validation, &["", "Ignore", "Strict", "Warn"]));
        }
        let field_manager = self.text("fieldManager");
        let mut errors = Errors::default();
        managers::check_name(&field_manager, &mut errors);
        if !errors.is_empty() && verb != Verb::Patch {
            return Err(Error::invalid(&metadata::options_kind(group), "", &errors));
        }
        Ok(Options {
            dry_run: !dry_run.is_empty(),
            field_manager,
            field_validation,
            force: self.flag("force").unwrap_or(false),
            list: if verb == Verb::DeleteCollection { self.list_options()? } else { ListOptions::default() },
        })
    }

    fn list_options(&self) -> Result<ListOptions, Error> {
        Ok(ListOptions {
            label_selector: self.text("labelSelector"),
            field_selector: self.text("fieldSelector"),
            resource_version: self.text("resourceVersion"),
            resource_version_match: self.text("resourceVersionMatch"),
            limit: self.number("limit")?.unwrap_or(0).try_into().unwrap_or(0),
            continue_token: self.text("continue"),
            allow_bookmarks: self.flag("allowWatchBookmarks").unwrap_or(false),
            send_initial_events: self.flag("sendInitialEvents"),
            timeout_seconds: self.number("timeoutSeconds")?.and_then(|seconds| seconds.try_into().ok()),
        })
    }

    /// The `DeleteOptions` that stand in the query of a DELETE without a body, as JSON.
    pub fn delete_options(&self) -> Result<Option<Bytes>, Error> {
        let mut options = Map::new();
        if let Some(seconds) = self.number("gracePeriodSeconds")? {
            options.insert("gracePeriodSeconds".into(), seconds.into());
        }
        if let Some(policy) = self.get("propagationPolicy") {
            options.insert("propagationPolicy".into(), policy.into());
        }
        if let Some(orphan) = self.flag("orphanDependents") {
            options.insert("orphanDependents".into(), orphan.into());
        }
        if options.is_empty() {
            return Ok(None);
        }
        options.insert("kind".into(), "DeleteOptions".into());
        options.insert("apiVersion".into(), "v1".into());
        Ok(Some(Bytes::from(Value::Object(options).to_string())))
    }
}

/// Options are checked like objects: 422, with the options' kind as subject.
fn unsupported(kind: &str, field: &str, value: &str, allowed: &[&str]) -> Error {
    let allowed: Vec<_> = allowed.iter().map(|value| format!("{value:?}")).collect();
    let problem = format!("Unsupported value: {value:?}: supported values: {}", allowed.join(", "));
    let message = format!("{kind}.meta.k8s.io \"\" is invalid: {field}: {problem}");
    let details = json!({
        "group": "meta.k8s.io",
        "kind": kind,
        "causes": [{ "reason": "FieldValueNotSupported", "message": problem, "field": field }],
    });
    Error { details: serde_json::from_value(details).ok(), ..Error::new(Reason::Invalid, message) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_take_their_options() {
        let query = Query::parse(Some(
            "limit=500&labelSelector=app%3Dweb%2Ctier+in+(a)&watch=1&resourceVersion=0&allowWatchBookmarks=true\
             &timeoutSeconds=7&sendInitialEvents=false&fieldSelector=metadata.name%3Dx&limit=1",
        ));
        let list = query.options(Verb::Watch).unwrap().list;
        assert_eq!(list.limit, 500);
        assert_eq!(list.label_selector, "app=web,tier in (a)");
        assert_eq!(list.field_selector, "metadata.name=x");
        assert_eq!((list.resource_version.as_str(), list.allow_bookmarks), ("0", true));
        assert_eq!((list.timeout_seconds, list.send_initial_events), (Some(7), Some(false)));
        assert_eq!(query.flag("watch"), Some(true));
        assert_eq!(Query::parse(Some("watch=False")).flag("watch"), Some(false));
        assert_eq!(Query::parse(None).flag("watch"), None);
    }

    #[test]
    fn wrong_options_are_refused_in_upstreams_words() {
        let options = |query| Query::parse(Some(query)).options(Verb::Create).unwrap_err();
        let error = options("dryRun=Some");
        assert_eq!(error.code(), 422);
        assert_eq!(
            error.message,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\""
        );
        assert_eq!(options("fieldValidation=strict").code(), 422);
        let error = Query::parse(Some("limit=many")).options(Verb::List).unwrap_err();
        assert_eq!(error.message, "strconv.ParseInt: parsing \"many\": invalid syntax");
    }

    #[test]
    fn a_delete_may_carry_its_options_in_the_query() {
        let query = Query::parse(Some("gracePeriodSeconds=0&propagationPolicy=Foreground"));
        let options: Value = serde_json::from_slice(&query.delete_options().unwrap().unwrap()).unwrap();
        assert_eq!(options["gracePeriodSeconds"], 0);
        assert_eq!(options["propagationPolicy"], "Foreground");
        assert_eq!(Query::default().delete_options().unwrap(), None);
    }
}
