//! What another configuration changes, for the log of a reload.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::{Config, Upstream};
use crate::text;

impl Config {
    /// What `next` changes, in words: one entry for each value, upstream that is added or removed.
    pub fn changes(&self, next: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let of = |config: &Self, name: &str| {
            let mut upstreams = config.upstreams.iter();
            upstreams.find(|one| one.name == name).cloned()
        };
        for Upstream { name, .. } in &self.upstreams {
            if of(next, name).is_none() {
                found.push(format!("{name}: removed"));
            }
        }
        for upstream in &next.upstreams {
            let name = &upstream.name;
            match of(self, name) {
                None => found.push(format!("{name}: added")),
                Some(before) => differences(
                    &json(&before),
                    &json(upstream),
                    &format!("{name}: "),
                    &mut found,
                ),
            }
        }
        differences(
            &json(&self.limits),
            &json(&next.limits),
            "limits.",
            &mut found,
        );
        for (before, after, place) in [
            (json(&self.agents), json(&next.agents), "agents"),
            (json(&self.anonymous), json(&next.anonymous), "anonymous"),
        ] {
            differences(&before, &after, place, &mut found);
        }
        if self.http != next.http {
            found.push("http: takes effect at the next start".to_owned());
        }
        found
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Adds `place`, the old and the new value of each leaf in which two documents differ.
fn differences(before: &Value, after: &Value, place: &str, found: &mut Vec<String>) {
    if let (Value::Object(old), Value::Object(new)) = (before, after) {
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let of = |members: &serde_json::Map<String, Value>| {
                members.get(key).cloned().unwrap_or_default()
            };
            let separator = if place.ends_with([' ', '.']) { "" } else { "." };
            differences(
                &of(old),
                &of(new),
                &format!("{place}{separator}{key}"),
                found,
            );
        }
    } else if before != after {
        let shown = format!("{place} {before} is now {after}");
        found.push(text::line(shown.as_bytes()));
    }
}
