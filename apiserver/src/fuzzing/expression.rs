//! Expressions in CEL.

use serde_json::Value as Json;

use crate::cel::{Activation, Bound, Budget, Environment, ObjectType, PER_CALL_LIMIT, Type, Value};

/// An expression about an object, which it knows with and without a type.
pub fn cel(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (source, object) = text.split_once("\n\n").unwrap_or((&text, ""));
    let object: Json = serde_json::from_str(object).unwrap_or_default();
    let typed = ObjectType::new(
        "Widget",
        [
            ("name", Type::String),
            ("count", Type::Int),
            ("at", Type::Timestamp),
            ("tags", Type::list(Type::String)),
            ("sizes", Type::map(Type::String, Type::Int)),
        ],
    );
    let environment = Environment::new().with("object", Type::Dyn).with("self", Type::object(typed)).with_mutations();
    let program = match environment.compile(source) {
        Ok(program) => program,
        Err(error) => {
            error.to_string();
            return;
        }
    };
    program.most_expensive(&environment, &Bound::default());
    let wanted = environment.variable("self").unwrap_or(&Type::Dyn);
    let variables = [("object", Value::from_json(&object)), ("self", Value::from_typed_json(&object, wanted))];
    let mut budget = Budget::new(PER_CALL_LIMIT);
    match program.evaluate(&Activation::new(&variables), &mut budget) {
        Ok(value) => {
            value.to_json();
        }
        Err(failure) => {
            failure.to_string();
        }
    }
}
