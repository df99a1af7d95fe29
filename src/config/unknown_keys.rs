//! Keys that a schema does not know, each with the one that is spelt most like it.

use std::fmt;

use serde_json::Value;

use crate::text;

/// A key in a JSON document that its schema does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key, as it may be shown.
    pub key: String,
    /// Where it stands, such as `upstreams[0].policy`; empty at the top.
    pub place: String,
    /// The known key that is spelt most like it, when one is near.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown key {:?}", self.key)?;
        if !self.place.is_empty() {
            write!(f, " in {}", self.place)?;
        }
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
            None => Ok(()),
        }
    }
}

/// Every key of `value` that `schema`, a JSON Schema as schemars writes it, does not name.
pub fn unknown_keys(value: &Value, schema: &Value) -> Vec<UnknownKey> {
    let mut found = Vec::new();
    walk(value, schema, schema, "", &mut found);
    found
}

fn walk(value: &Value, schema: &Value, root: &Value, place: &str, found: &mut Vec<UnknownKey>) {
    let schemas = alternatives(schema, root);
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(schema) = schemas.iter().find_map(|schema| schema.get("items")) {
                    walk(item, schema, root, &format!("{place}[{index}]"), found);
                }
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                match member_schema(&schemas, key) {
                    Some(schema) => walk(member, schema, root, &join(place, key), found),
                    None => found.extend(unknown(&schemas, key, place)),
                }
            }
        }
        _ => {}
    }
}

/// `schema` itself, or what its `$ref`, `anyOf`, `oneOf` and `allOf` lead to.
fn alternatives<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    let mut all = vec![schema];
    let target = schema.get("$ref").and_then(Value::as_str);
    if let Some(target) = target.and_then(|target| root.pointer(target.strip_prefix('#')?)) {
        all.extend(alternatives(target, root));
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        for choice in schema
            .get(word)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            all.extend(alternatives(choice, root));
        }
    }
    all
}

/// The schema of the member `key`: a named property, or what the values of a map must be.
fn member_schema<'a>(schemas: &[&'a Value], key: &str) -> Option<&'a Value> {
    let named = schemas
        .iter()
        .find_map(|schema| schema.get("properties")?.get(key));
    named.or_else(|| {
        schemas.iter().find_map(|schema| {
            schema
                .get("additionalProperties")
                .filter(|map| map.is_object())
        })
    })
}

/// `key` as an unknown one, unless the schemas name no keys at all.
fn unknown(schemas: &[&Value], key: &str, place: &str) -> Option<UnknownKey> {
    let known: Vec<&String> = schemas
        .iter()
        .filter_map(|schema| schema.get("properties")?.as_object())
        .flat_map(serde_json::Map::keys)
        .collect();
    let nearest = text::nearest(key, known.iter().map(|name| name.as_str()));
    (!known.is_empty()).then(|| UnknownKey {
        key: text::line(key.as_bytes()),
        place: place.to_owned(),
        nearest: nearest.map(str::to_owned),
    })
}

fn join(place: &str, key: &str) -> String {
    match place {
        "" => key.to_owned(),
        _ => format!("{place}.{key}"),
    }
}
