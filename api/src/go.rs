//! Values as Go prints them in messages.

use serde_json::Value;

/// `%v`: `map[name:web ports:[80 81]]`.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(elements) => plain_list(elements),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}:{}", plain(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        scalar => scalar.to_string(),
    }
}

/// `%v` of a list.
pub fn plain_list(elements: &[Value]) -> String {
    format!("[{}]", elements.iter().map(plain).collect::<Vec<_>>().join(" "))
}

/// `%#v`: `map[string]interface {}{"name":"web"}`.
pub fn syntax(value: &Value) -> String {
    let list = |values: Vec<String>| format!("{{{}}}", values.join(", "));
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(elements) => format!("[]interface {{}}{}", list(elements.iter().map(syntax).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name:?}:{}", syntax(value)));
            format!("map[string]interface {{}}{}", list(fields.collect()))
        }
        scalar => scalar.to_string(),
    }
}

/// `%T`: `string`, `int64`, ….
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_printed_as_go_does() {
        for (value, shown, written, of) in [
            (json!(null), "<nil>", "interface {}(nil)", "<nil>"),
            (json!("a"), "a", "\"a\"", "string"),
            (json!(1.5), "1.5", "1.5", "float64"),
            (json!([1, true]), "[1 true]", "[]interface {}{1, true}", "[]interface {}"),
            (
                json!({"a": "b", "c": 1}),
                "map[a:b c:1]",
                "map[string]interface {}{\"a\":\"b\", \"c\":1}",
                "map[string]interface {}",
            ),
        ] {
            assert_eq!((&*plain(&value), &*syntax(&value), type_name(&value)), (shown, written, of));
        }
    }
}
