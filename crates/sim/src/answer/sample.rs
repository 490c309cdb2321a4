//! A small value that satisfies a JSON schema: tool arguments and structured answers.

use serde_json::{Map, Value, json};

/// Nesting that is followed; deeper, and endless, schemas end in null.
const MAX_DEPTH: u32 = 8;
/// Members of one object.
const MAX_MEMBERS: usize = 64;

/// A value for `schema`; without one, an object that says it is made up.
pub(crate) fn sample(schema: Option<&Value>) -> Value {
    schema.map_or_else(|| json!({ "simulated": true }), |root| value(root, root, MAX_DEPTH))
}

fn value(schema: &Value, root: &Value, depth: u32) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or(Value::Null, |found| value(found, root, depth - 1));
    }
    if let Some(fixed) = schema.get("const").or_else(|| schema.get("default")) {
        return fixed.clone();
    }
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|values| values.first()) {
        return first.clone();
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema.get(several).and_then(Value::as_array).and_then(|schemas| schemas.first()) {
            return value(first, root, depth - 1);
        }
    }
    match kind(schema) {
        Some("object") => object(schema, root, depth),
        Some("array") => {
            json!([schema.get("items").map_or(Value::Null, |items| value(items, root, depth - 1))])
        }
        Some("string") => "sample".into(),
        Some("integer") => schema.get("minimum").and_then(Value::as_i64).unwrap_or(1).into(),
        Some("number") => schema.get("minimum").and_then(Value::as_f64).unwrap_or(1.5).into(),
        Some("boolean") => true.into(),
        _ => Value::Null,
    }
}

/// The type; of several, the first that says something.
fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => Some(kind),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ if schema.get("properties").is_some() => Some("object"),
        _ => None,
    }
}

fn object(schema: &Value, root: &Value, depth: u32) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let members = properties.into_iter().flatten().take(MAX_MEMBERS);
    Value::Object(members.map(|(name, schema)| (name.clone(), value(schema, root, depth - 1))).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_shape_of_its_schema() {
        let check = |schema: Value, expected: Value| assert_eq!(sample(Some(&schema)), expected, "{schema}");
        check(json!({"type": "object", "properties": {"city": {"type": "string"}}}), json!({"city": "sample"}));
        check(json!({"properties": {"unit": {"enum": ["c", "f"]}}}), json!({"unit": "c"}));
        check(json!({"type": ["null", "integer"], "minimum": 5}), json!(5));
        check(json!({"type": "array", "items": {"type": "boolean"}}), json!([true]));
        check(json!({"$defs": {"a": {"const": 7}}, "$ref": "#/$defs/a"}), json!(7));
        check(json!({"anyOf": [{"type": "number"}, {"type": "null"}]}), json!(1.5));
        assert_eq!(sample(None), json!({"simulated": true}));
    }

    #[test]
    fn a_schema_without_end_ends() {
        let endless = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(sample(Some(&endless)).to_string().ends_with('}'));
    }
}
