//! Which objects a list is about, and where it goes on.

use std::{collections::BTreeMap, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use kubelab_api::selector::{field, label};

use super::{ground::Ground, line};
use crate::{
    corridor::ListOptions,
    registry::{list, selection::Selection},
};

/// A label selector and a field selector.
pub fn selector(input: &[u8]) {
    let (labels, fields) = line(input);
    let (labels, fields) = (String::from_utf8_lossy(labels), String::from_utf8_lossy(fields));
    let some = BTreeMap::from([("app".to_owned(), "web".to_owned()), ("n".to_owned(), "7".to_owned())]);
    if let Ok(selector) = label::Selector::from_str(&labels) {
        selector.matches(Some(&some));
        selector.matches(None);
        let again = label::Selector::from_str(&selector.to_string()).expect("a selector's text is a selector");
        assert_eq!(again.matches(Some(&some)), selector.matches(Some(&some)), "{selector}");
    }
    if let Ok(selector) = field::Selector::from_str(&fields) {
        selector.matches(|_| Some("a"));
        let again = field::Selector::from_str(&selector.to_string()).expect("a selector's text is a selector");
        assert_eq!(again, selector);
    }
    let options = ListOptions {
        label_selector: labels.into_owned(),
        field_selector: fields.into_owned(),
        ..ListOptions::default()
    };
    for plural in ["pods", "nodes", "events"] {
        let handler = Ground::get().table.find("", "v1", plural).expect("a built-in kind");
        if let Ok(selection) = Selection::new(handler, "default", &options) {
            selection.prefix();
        }
    }
}

/// A continue token.
pub fn continue_token(input: &[u8]) {
    let token = String::from_utf8_lossy(input);
    for token in [&*token, &BASE64_URL_SAFE_NO_PAD.encode(input)] {
        if let Ok((revision, last)) = list::continuation(token) {
            assert!(revision != 0 && !last.is_empty());
        }
    }
    let options = ListOptions { continue_token: token.clone().into_owned(), ..ListOptions::default() };
    let _ = list::validate(&options, false);
}
