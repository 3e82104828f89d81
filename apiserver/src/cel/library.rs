//! Kubernetes' own libraries (URLs, addresses, quantities, versions, formats), which the crate `kube-cel` has. Its functions
//! want an expression for each argument, so a call is put together from names, and the values given to the names.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use kube_cel::{
    KubeCelExt,
    cel::{
        Context, ExecutionError, IdedExpr, Value as Theirs,
        common::ast::{CallExpr, Expr},
        objects,
    },
};

use super::{
    Failure, time,
    value::{Key, Map, Value},
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

thread_local! {
    // A context cannot be shared between threads, and costs a hundred insertions to make.
    static LIBRARIES: RefCell<Option<Context<'static>>> = const { RefCell::new(None) };
}

/// Calls a library's function.
pub fn call(function: &str, method: bool, args: &[Value]) -> Result<Value, Failure> {
    let names = NAMES.get(..args.len()).ok_or_else(Failure::no_overload)?;
    let name = |name: &&str| IdedExpr { id: 0, expr: Expr::Ident((*name).to_owned()) };
    let (target, rest) = match (method, names) {
        (true, [target, rest @ ..]) => (Some(Box::new(name(target))), rest),
        (_, names) => (None, names),
    };
    let call = CallExpr { func_name: function.to_owned(), target, args: rest.iter().map(name).collect() };
    let expression = IdedExpr { id: 0, expr: Expr::Call(call) };
    LIBRARIES.with_borrow_mut(|libraries| {
        let libraries = libraries.get_or_insert_with(|| Context::default().with_all());
        let mut scope = libraries.new_inner_scope();
        for (name, value) in names.iter().zip(args) {
            scope.add_variable_from_value(*name, give(value).ok_or_else(Failure::no_overload)?);
        }
        Theirs::resolve(&expression, &scope).map_err(failure).and_then(take)
    })
}

/// How a library's value prints, where it does.
pub fn text(value: &Value) -> Option<String> {
    match call("string", false, std::slice::from_ref(value)) {
        Ok(Value::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

fn failure(error: ExecutionError) -> Failure {
    match error {
        ExecutionError::FunctionError { message, .. } => Failure::new(message),
        ExecutionError::NoSuchKey(key) => Failure::new(format!("no such key: {key}")),
        _ => Failure::no_overload(),
    }
}

/// A value for a library. Times become text, which is how the libraries print them.
fn give(value: &Value) -> Option<Theirs> {
    Some(match value {
        Value::Null => Theirs::Null,
        Value::Bool(value) => Theirs::Bool(*value),
        Value::Int(value) => Theirs::Int(*value),
        Value::Uint(value) => Theirs::UInt(*value),
        Value::Double(value) => Theirs::Float(*value),
        Value::String(text) => Theirs::from(&**text),
        Value::Bytes(bytes) => Theirs::from(bytes.to_vec()),
        Value::List(list) => Theirs::List(Arc::new(list.iter().map(give).collect::<Option<_>>()?)),
        Value::Map(map) => {
            let entry = |(key, value): (&Key, &Value)| Some((give_key(key), give(value)?));
            let entries: HashMap<objects::Key, Theirs> = map.iter().map(entry).collect::<Option<_>>()?;
            Theirs::Map(objects::Map { map: Arc::new(entries) })
        }
        Value::Timestamp(time) => Theirs::from(time.to_string()),
        Value::Duration(span) => Theirs::from(time::show_duration(*span)),
        Value::Type(name) => Theirs::from(&**name),
        Value::Library(value) => Theirs::Opaque(Arc::clone(value)),
        Value::Optional(_) | Value::Authority(_) => return None,
    })
}

fn give_key(key: &Key) -> objects::Key {
    match key {
        Key::Bool(value) => objects::Key::Bool(*value),
        Key::Int(value) => objects::Key::Int(*value),
        Key::Uint(value) => objects::Key::Uint(*value),
        Key::String(text) => objects::Key::from(&**text),
    }
}

fn take(value: Theirs) -> Result<Value, Failure> {
    Ok(match value {
        Theirs::Null => Value::Null,
        Theirs::Bool(value) => Value::Bool(value),
        Theirs::Int(value) => Value::Int(value),
        Theirs::UInt(value) => Value::Uint(value),
        Theirs::Float(value) => Value::Double(value),
        Theirs::String(text) => text.as_str().into(),
        Theirs::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
        Theirs::List(list) => list.iter().cloned().map(take).collect::<Result<Vec<_>, _>>()?.into(),
        Theirs::Map(map) => {
            let entry = |(key, value): (&objects::Key, &Theirs)| Ok((take_key(key), take(value.clone())?));
            map.map.iter().map(entry).collect::<Result<Map, Failure>>()?.into()
        }
        Theirs::Opaque(value) => match value.downcast_ref::<objects::OptionalValue>() {
            Some(optional) => Value::Optional(optional.value().cloned().map(take).transpose()?.map(Arc::new)),
            None => Value::Library(value),
        },
        _ => return Err(Failure::no_overload()),
    })
}

fn take_key(key: &objects::Key) -> Key {
    match key {
        objects::Key::Bool(value) => Key::Bool(*value),
        objects::Key::Int(value) => Key::Int(*value),
        objects::Key::Uint(value) => Key::Uint(*value),
        objects::Key::String(text) => Key::from(text.as_str()),
    }
}

/// The longest a number in a format may make its text.
const PRECISION: usize = 100;

/// `'%s has %d'.format([…])`.
pub fn format(text: &Value, args: &Value) -> Result<Value, Failure> {
    if let Value::String(format) = text {
        let digits =
            format.split('.').skip(1).map(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>());
        for digits in digits.filter(|digits| !digits.is_empty()) {
            if digits.parse::<usize>().map_or(true, |precision| precision > PRECISION) {
                return Err(Failure::new(format!("precision of {digits} digits is too large")));
            }
        }
    }
    call("format", true, &[text.clone(), args.clone()])
}
