//! What two managers want differently, and how the loser is told. Source: `util/managedfields/internal/conflict.go` of
//! `k8s.io/apimachinery`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{StatusCause, StatusDetails};

use super::{
    element::Element,
    manager::{Identity, Operation},
    set::path_text,
};
use crate::{Error, Reason};

/// A path that somebody else manages, with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who manages it.
    pub manager: Identity,
    /// What.
    pub path: Vec<Element>,
}

fn manager(identity: &Identity) -> String {
    let mut text = format!("{:?}", identity.name);
    if !identity.subresource.is_empty() {
        text += &format!(" with subresource {:?}", identity.subresource);
    }
    if identity.operation == Operation::Update {
        text += &format!(" using {}", identity.api_version);
    }
    text
}

/// 409: others manage what is applied, with other values.
pub fn error(conflicts: &[Conflict]) -> Error {
    let text = |conflict: &Conflict| format!("conflict with {}", manager(&conflict.manager));
    let message = match conflicts {
        [one] => format!("Apply failed with 1 conflict: {}: {}", text(one), path_text(&one.path)),
        many => {
            let mut managers: Vec<String> = many.iter().map(|conflict| manager(&conflict.manager)).collect();
            managers.sort();
            managers.dedup();
            let mut lines = Vec::with_capacity(managers.len() + many.len());
            for name in managers {
                lines.push(format!("conflicts with {name}:"));
                let theirs = many.iter().filter(|conflict| manager(&conflict.manager) == name);
                lines.extend(theirs.map(|conflict| format!("- {}", path_text(&conflict.path))));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let cause = |conflict: &Conflict| StatusCause {
        reason: Some("FieldManagerConflict".to_owned()),
        message: Some(text(conflict)),
        field: Some(path_text(&conflict.path)),
    };
    let causes = conflicts.iter().map(cause).collect();
    let details = StatusDetails { causes: Some(causes), ..Default::default() };
    Error { details: Some(Box::new(details)), ..Error::new(Reason::Conflict, message) }
}
